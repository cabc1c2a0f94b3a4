"""What a media file is, without Kafka, SQL or codecs."""
