"""The Kafka edge of the transcription service."""
