"""Silence, speech, topics and clips, without Kafka, SQL or codecs."""
