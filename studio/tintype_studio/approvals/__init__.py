"""Calls that wait for a word: asked for, decided, used once."""
