"""The engines: detectors, topics and cutting. They run in the service's child process."""
