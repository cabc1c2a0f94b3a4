"""The edges of the transcription service: events from Kafka, and the end of its jobs."""
