"""The edges of the highlights service: events from Kafka, and the end of its jobs."""
