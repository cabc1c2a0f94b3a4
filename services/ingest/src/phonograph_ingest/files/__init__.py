"""Reading files: content type, hashes, tags, sound."""
