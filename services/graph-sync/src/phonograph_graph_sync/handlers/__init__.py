"""The Kafka edge of the graph-sync service."""
