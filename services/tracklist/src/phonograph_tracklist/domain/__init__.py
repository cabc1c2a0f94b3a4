"""The rules of the catalog: pure functions and frozen values."""
