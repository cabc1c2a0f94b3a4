"""Benchmarks of the event plane: one run compares each figure with a bare loop of the same libraries."""
