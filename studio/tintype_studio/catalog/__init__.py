"""Datasets, their classes and their samples."""
