"""The Kafka edge of the ingest service."""
