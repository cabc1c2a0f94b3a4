"""Reading of files: content type, hashes, tags, audio."""
