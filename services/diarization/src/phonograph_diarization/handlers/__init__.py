"""The edges of the diarization service: events from Kafka, and the end of its jobs."""
