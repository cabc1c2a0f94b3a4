"""Tells who speaks when."""
