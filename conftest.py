"""Fixtures for every test of the repository."""

pytest_plugins = ["tests.support.stack", "tests.support.system"]
