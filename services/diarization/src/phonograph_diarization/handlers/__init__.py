"""The Kafka edge of the diarization service."""
