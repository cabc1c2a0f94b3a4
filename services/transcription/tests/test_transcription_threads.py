"""Whisper leaves cores to the engines of the other services."""

import pytest

from phonograph_transcription import config
from phonograph_transcription.config import default_threads
from phonograph_transcription.domain.engines import EngineChoice, WhisperOptions
from phonograph_transcription.inference.selection import select_transcriber


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (4, 2), (8, 4), (16, 8), (64, 8)])
def test_whisper_uses_half_of_the_cores(monkeypatch, cores, threads):
    monkeypatch.setattr(config, "count_cores", lambda: cores)
    assert default_threads() == threads


def test_a_model_is_loaded_with_the_threads_of_the_settings(monkeypatch, tmp_path):
    from faster_whisper import WhisperModel

    loaded = []
    monkeypatch.setattr(WhisperModel, "__init__", lambda self, folder, **options: loaded.append(options))
    for name in ("model.bin", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"")

    class Models:
        def require(self, name):
            return tmp_path

    options = WhisperOptions("any", device="cpu", compute_type="int8", threads=3)
    select_transcriber(EngineChoice.FASTER_WHISPER, options, Models())
    assert [each["cpu_threads"] for each in loaded] == [3]
