"""The rules of the catalogue: pure functions and frozen values."""
