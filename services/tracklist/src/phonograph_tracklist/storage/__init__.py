"""The tracklist service's tables."""
