"""Analyses in PostgreSQL."""
