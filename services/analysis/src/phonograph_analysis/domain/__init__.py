"""Measurements on music, without any engine."""
