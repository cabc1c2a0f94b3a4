"""The Kafka edge of the tracklist service."""
