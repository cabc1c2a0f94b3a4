"""The Kafka edge of the analysis service."""
