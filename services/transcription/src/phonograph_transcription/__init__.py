"""Turns speech into text with word times and, with diarization, with speakers."""
