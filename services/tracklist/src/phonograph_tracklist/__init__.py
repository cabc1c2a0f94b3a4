"""The music catalogue: recordings, metadata, tracklists and rename proposals."""
