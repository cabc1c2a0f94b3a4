"""The edges of the ingest service: events from Kafka, and the end of its jobs."""
