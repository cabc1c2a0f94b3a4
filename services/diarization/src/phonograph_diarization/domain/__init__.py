"""Turns, speakers and voices, without Kafka, SQL or models."""
