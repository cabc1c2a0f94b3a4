"""Use cases of the tracklist service."""
