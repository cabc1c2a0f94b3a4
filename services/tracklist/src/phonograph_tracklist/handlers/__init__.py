"""The edges of the tracklist service: events from Kafka, the end of its jobs, and periodic work."""
