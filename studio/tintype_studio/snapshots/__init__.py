"""Frozen files of datasets and recordings: put in parts, made of a dataset, restored into a new one."""
