"""Transcripts, without Kafka, SQL or models."""
