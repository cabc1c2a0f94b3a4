"""Use cases of the analysis service."""
