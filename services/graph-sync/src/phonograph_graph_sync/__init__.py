"""Mirrors every result into Neo4j."""
