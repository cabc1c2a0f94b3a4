"""The edges of the analysis service: events from Kafka, and the end of its jobs."""
