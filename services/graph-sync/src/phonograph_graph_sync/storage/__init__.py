"""The tables in PostgreSQL."""
