"""Use cases of the ingest service."""
