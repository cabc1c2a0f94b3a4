"""What a transcript is, without Kafka, SQL or models."""
