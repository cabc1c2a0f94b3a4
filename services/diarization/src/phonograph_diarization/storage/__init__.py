"""Meetings and voices in PostgreSQL."""
