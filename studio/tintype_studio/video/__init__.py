"""Videos: what they are, and single frames of them as pictures."""
