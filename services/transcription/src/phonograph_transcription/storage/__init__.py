"""Transcripts in PostgreSQL."""
