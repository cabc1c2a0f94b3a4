"""Media files and their registration, without Kafka, SQL or codecs."""
