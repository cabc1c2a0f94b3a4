"""The default engine is the real one: Whisper `base`, in the type that suits the device."""

import ctranslate2
import pytest

from phonograph_models import ModelCache
from phonograph_transcription.config import Settings
from phonograph_transcription.domain.engines import EngineChoice, WhisperOptions
from phonograph_transcription.domain.transcript import WarningCode
from phonograph_transcription.inference import selection
from phonograph_transcription.inference.selection import select_transcriber


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("PHONOGRAPH_MODELS", "TRANSCRIPTION_MODEL", "TRANSCRIPTION_MODELS", "TRANSCRIPTION_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    return Settings(database_url="postgresql+asyncpg://x")


def test_default_is_the_base_model_of_the_users_cache(settings, require_model):
    folder = require_model("base")
    assert (settings.engine, settings.model, settings.compute_type) == (EngineChoice.AUTO, "base", "auto")
    options = WhisperOptions(settings.model, device="cpu")
    engine, warnings = select_transcriber(settings.engine, options, ModelCache(folder.parent))
    assert (engine.name, engine.model, warnings) == ("faster-whisper", "base", ())


def test_without_the_default_model_every_transcript_carries_the_command_that_fetches_it(settings, tmp_path):
    options = WhisperOptions(settings.model)
    engine, (warning,) = select_transcriber(settings.engine, options, ModelCache(tmp_path))
    assert (engine.name, warning.code) == ("pocketsphinx", WarningCode.ENGINE_FALLBACK)
    assert "phonograph models fetch base" in warning.message


def test_both_variables_move_the_folder_of_the_models(monkeypatch, settings, tmp_path):
    assert settings.models == ModelCache().folder
    monkeypatch.setenv("PHONOGRAPH_MODELS", str(tmp_path / "all"))
    assert Settings(database_url="x").models == tmp_path / "all"
    monkeypatch.setenv("TRANSCRIPTION_MODELS", str(tmp_path / "own"))
    assert Settings(database_url="x").models == tmp_path / "own"


@pytest.mark.parametrize(
    ("device", "gpus", "compute_type", "expected"),
    [
        ("auto", 0, "auto", "int8"),
        ("auto", 1, "auto", "float16"),
        ("cpu", 1, "auto", "int8"),
        ("cuda", 1, "auto", "float16"),
        ("auto", 1, "float32", "float32"),
        ("cpu", 0, "default", "default"),
    ],
)
def test_compute_type_follows_the_device_unless_it_is_set(
    monkeypatch, require_model, device, gpus, compute_type, expected
):
    created: list[dict[str, object]] = []

    class Recorder:
        name, model = "faster-whisper", "base"

        def __init__(self, _folder: object, **options: object) -> None:
            created.append(options)

        def load(self) -> None: ...

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: gpus)
    monkeypatch.setattr(selection, "WhisperTranscriber", Recorder)
    cache = ModelCache(require_model("base").parent)
    options = WhisperOptions("base", device=device, compute_type=compute_type)
    select_transcriber(EngineChoice.FASTER_WHISPER, options, cache)
    assert created[0]["compute_type"] == expected
