"""The pyannote diarizer with a stub in place of the pipeline, and the selection of the diarizer."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pyannote.core import Annotation, Segment

from phonograph_diarization.config import Settings
from phonograph_diarization.domain.diarization import SpeakerBounds, Turn
from phonograph_diarization.domain.engines import EngineChoice, PyannoteOptions
from phonograph_diarization.inference import pyannote
from phonograph_diarization.inference.pyannote import PyannoteDiarizer
from phonograph_diarization.inference.selection import select_diarizer
from phonograph_models import ModelCache
from phonograph_runtime.errors import EngineUnavailableError

ANY_NUMBER = SpeakerBounds()
SECOND = np.zeros(16_000, np.float32)
DATABASE = "postgresql+asyncpg://diarization:x@127.0.0.1:1/none"


@dataclass
class Output:
    """Shape of pyannote.audio 4's `DiarizeOutput`."""

    speaker_diarization: Annotation
    exclusive_speaker_diarization: Annotation
    speaker_embeddings: Any


class Pipeline:
    """Returns a given output and records its arguments."""

    def __init__(self, output: Any) -> None:
        self.output = output
        self.file: Any = None
        self.options: Any = None

    def __call__(self, file: Any, *, hook: Any, **options: Any) -> Any:
        self.file, self.options = file, options
        hook("segmentation", None, file=file, total=4, completed=1)
        hook("segmentation", None, file=file)
        hook("embeddings", None, file=file, total=2, completed=1)
        hook("an unknown step", None, file=file)
        return self.output


def annotation(*turns: tuple[float, float, str]) -> Annotation:
    result = Annotation(uri="recording")
    for number, (start, end, speaker) in enumerate(turns):
        result[Segment(start, end), number] = speaker
    return result


def diarize(pipeline: Pipeline, bounds: SpeakerBounds = ANY_NUMBER, progress: Any = None) -> Any:
    engine = PyannoteDiarizer("org/model", pipeline=pipeline)
    return engine.predict(SECOND, bounds=bounds, progress=progress or (lambda _done, _stage: None))


def test_turns_do_not_overlap_and_each_speaker_has_a_voiceprint():
    overlapped = annotation((0, 6, "SPEAKER_00"), (4, 9, "SPEAKER_01"), (9, 9.1, "SPEAKER_02"))
    exclusive = annotation((0, 4.4, "SPEAKER_01"), (4.4, 9, "SPEAKER_00"))
    vectors = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    found = diarize(Pipeline(Output(overlapped, exclusive, vectors)))
    assert found.turns == (Turn(0, 4.4, "S1"), Turn(4.4, 9, "S2"))
    assert [(v.label, v.voiceprint.model_id, v.voiceprint.vector.tolist()) for v in found.voices] == [
        ("S1", "pyannote:org/model", [3.0, 4.0]),
        ("S2", "pyannote:org/model", [1.0, 2.0]),
    ]
    assert (found.engine, found.model) == ("pyannote", "org/model")


def test_older_pipelines_return_an_annotation_only():
    found = diarize(Pipeline(annotation((0, 1, "A"))))
    assert found.turns == (Turn(0, 1, "S1"),)
    assert found.voices[0].voiceprint is None


def test_recordings_without_speech_or_samples_have_a_reason():
    found = diarize(Pipeline(Output(annotation(), annotation(), np.zeros((0, 2)))))
    assert (found.turns, found.reason) == ((), "no_speech")
    unused = Pipeline(None)
    empty = PyannoteDiarizer("m", pipeline=unused).predict(
        SECOND[:0], bounds=SpeakerBounds(), progress=lambda *_: None
    )
    assert empty.reason == "no_speech"
    assert unused.file is None


def test_invalid_voiceprints_are_dropped():
    turns = annotation((0, 1, "A"), (1, 2, "B"))
    found = diarize(Pipeline(Output(turns, turns, np.array([[np.nan, 1], [0, 0]]))))
    assert [voice.voiceprint for voice in found.voices] == [None, None]


@pytest.mark.parametrize(
    ("bounds", "options"),
    [
        (SpeakerBounds(), {"min_speakers": 1}),
        (SpeakerBounds(2, 4), {"min_speakers": 2, "max_speakers": 4}),
        (SpeakerBounds(3, 3), {"num_speakers": 3}),
    ],
)
def test_the_pipeline_receives_the_waveform_in_memory_and_the_bounds(bounds, options):
    pipeline = Pipeline(annotation())
    reported: list[tuple[float, str]] = []
    diarize(pipeline, bounds, lambda done, stage: reported.append((done, stage)))
    assert pipeline.options == options
    assert pipeline.file["waveform"].shape == (1, 16_000)
    assert pipeline.file["sample_rate"] == 16_000
    assert reported == [(0.125, "speech"), (0.5, "speech"), (0.725, "voices"), (1.0, "turns")]


def test_a_model_in_a_folder_has_the_name_of_the_folder(tmp_path):
    (tmp_path / "community-1").mkdir()
    assert PyannoteDiarizer(str(tmp_path / "community-1")).model == "community-1"


@pytest.mark.skipif(pyannote.is_installed(), reason="pyannote.audio is installed")
def test_the_error_for_an_engine_that_is_not_installed_contains_advice():
    with pytest.raises(EngineUnavailableError, match="make install-gpu") as error:
        select_diarizer(EngineChoice.PYANNOTE, PyannoteOptions("org/model"), ModelCache(), threads=1)
    assert error.value.reason == "engine_unavailable"


def test_a_missing_model_is_not_fetched_unless_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(pyannote, "is_installed", lambda: True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EngineUnavailableError, match="DIARIZATION_PYANNOTE_MODEL"):
        PyannoteDiarizer(f"no-owner/model-{tmp_path.name}".replace("_", "-")).load()


def test_the_settings_pass_the_token_to_the_child_process():
    settings = Settings(database_url=DATABASE, pyannote_token="hf_secret")
    assert "hf_secret" not in repr(settings)
    received = Settings.model_validate_json(settings.model_dump_json())
    assert received.pyannote_token.get_secret_value() == "hf_secret"


def test_importing_the_modules_imports_no_model_library():
    code = (
        "import sys, phonograph_diarization.main, phonograph_diarization.inference.pyannote, "
        "phonograph_diarization.inference.silero_mfcc, phonograph_diarization.inference.segmentation_ge2e, "
        "phonograph_diarization.inference.engine; "
        "print([m for m in ('torch', 'pyannote.audio', 'faster_whisper', 'sklearn', 'scipy', 'onnxruntime') "
        "if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
