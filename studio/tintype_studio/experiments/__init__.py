"""Experiments: training and validation sessions, what they measured, and the files that came of them."""
