"""Fixtures and options for every test of the repository."""

import pytest

pytest_plugins = [
    "tests.support.golden",
    "tests.support.models",
    "tests.support.stack",
    "tests.support.system",
    "tests.support.secure_kafka",
    "tests.support.secure_neo4j",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `tests.support.golden`."""
    parser.addoption(
        "--update-test-data",
        action="store_true",
        help="write the golden files under tests/data from the values that the tests compute",
    )
