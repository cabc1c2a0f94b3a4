"""The ingest service's tables."""
