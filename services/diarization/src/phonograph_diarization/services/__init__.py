"""Use cases of the diarization service."""
