"""Finds silence, topics and clips in lectures and talks."""
