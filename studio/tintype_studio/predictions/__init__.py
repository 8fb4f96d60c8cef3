"""Predictions about pictures and videos, whether a dataset holds them or not.

shapes       what a prediction is: objects over time, with categories and attributes
task         a task as callers see it; rows writes it down, asking says what may be asked
service      tasks are begun, prepared, started, looked at and forgotten
models       which model a name means
looking      one picture; sight and detecting: the frames of a video, packing keeps what was found
timeline     from the frames to objects over time, with smoothing
moments      what holds at one moment; pictures and clip draw it, drafts makes annotations of it
"""
