"""The engine of the service: detectors, topic segmentation and clips."""
