"""Exports: a dataset written as a ZIP in a documented format."""
