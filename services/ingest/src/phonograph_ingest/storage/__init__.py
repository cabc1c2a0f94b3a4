"""The registry of files in PostgreSQL."""
