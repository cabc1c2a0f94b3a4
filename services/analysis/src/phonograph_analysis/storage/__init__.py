"""The analysis service's tables."""
