"""Use cases of the highlights service."""
