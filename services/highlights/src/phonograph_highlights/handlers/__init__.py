"""Kafka edges of the highlights service."""
