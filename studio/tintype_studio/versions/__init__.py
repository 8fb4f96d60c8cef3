"""Named versions of a dataset: its state as a file, what changed between two, and the way back.

manifest    the file: every sample in blocks that can be read one by one
state       what is in the database now, as such a file
difference  two of them side by side
restoring   the dataset brought to the state of one
reading     samples and annotations as they were
changelog   what the history says between two
service     all of it, for whoever calls
"""
