"""The highlights service's tables."""
