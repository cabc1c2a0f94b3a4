"""Determines who speaks when."""
