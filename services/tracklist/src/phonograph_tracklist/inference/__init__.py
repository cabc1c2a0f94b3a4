"""The engine of the service, which reads the folder of a recording."""
