"""The diarization service's tables."""
