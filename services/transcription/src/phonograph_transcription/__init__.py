"""Converts speech into text with word times and, after diarization, with speakers."""
