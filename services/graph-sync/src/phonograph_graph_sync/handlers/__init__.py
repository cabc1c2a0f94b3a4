"""The edges of the graph-sync service: events from Kafka, as they arrive and replayed."""
