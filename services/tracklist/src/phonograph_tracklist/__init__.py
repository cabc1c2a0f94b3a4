"""The music catalog: recordings, metadata, tracklists and rename proposals."""
