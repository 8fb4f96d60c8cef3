"""The version of what the own detector learns and how; by itself, so that it is read without numpy."""

VERSION = 2
"""A change makes kept detectors void."""
