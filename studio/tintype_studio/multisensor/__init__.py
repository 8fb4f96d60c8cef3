"""Samples of several sensors: their files, what is known of them, and how they come in."""
