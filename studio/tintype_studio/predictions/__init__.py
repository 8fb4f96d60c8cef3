"""Predictions about pictures and videos, whether a dataset holds them or not.

shapes       what a prediction is: objects over time, with categories and attributes
"""
