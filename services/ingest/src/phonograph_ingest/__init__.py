"""Ingests files: probes, hashes, fingerprints, de-duplicates and makes the 16 kHz rendition."""
