"""Use cases of the transcription service."""
