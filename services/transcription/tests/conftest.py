"""Fixtures of the service's tests."""

from pathlib import Path

import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition

TALK = Path(__file__).parents[3] / "tests" / "samples" / "talk.ogg"


@pytest.fixture(scope="session")
def talk(tmp_path_factory) -> np.ndarray:
    """Return the first 9 s of the sample talk."""
    path = tmp_path_factory.mktemp("talk") / "rendition.wav"
    make_rendition(TALK, path)
    return read_rendition(path)[: 9 * SAMPLE_RATE_HZ]
