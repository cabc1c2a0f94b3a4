"""The PostgreSQL side."""
