"""Measures tempo, key, loudness, danceability, beats and timbre of music."""
