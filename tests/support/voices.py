"""An engine for diarization whose voices are chosen by the test; it runs in the child process of the service.

A recording is a row of voices, one for each second. The voiceprint of a voice is a random direction, so that
two voices are unlike, with a little noise that differs between recordings.
"""

import json
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Turn,
    Voiceprint,
    build_diarization,
)
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.engine import DiarizationEngine
from phonograph_events import JobSummary, MediaReady, MediaRef, Service, Stream, uuid7
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

RATE = 16_000
DIM = 32
MODEL_ID = "mfcc19-statistics-v1"
NOISE = 0.02
_STEP = 0.01


class ChosenVoices(Diarizer):
    """Reads the voices from the samples that `record` has written."""

    @property
    @override
    def name(self) -> str:
        return "silero-mfcc"

    @property
    @override
    def model(self) -> str:
        return "chosen"

    @override
    def load(self) -> None:
        """Do nothing: there is no model."""

    @override
    def predict(
        self, samples: NDArray[np.float32], *, bounds: SpeakerBounds, progress: Progress
    ) -> Diarization:
        seconds = samples[: samples.size // RATE * RATE].reshape(-1, RATE)
        voices = [round(float(second[0]) / _STEP) for second in seconds]
        turns = [Turn(start, start + 1.0, str(voice)) for start, voice in enumerate(voices)]
        seed = int.from_bytes(samples[-8:].tobytes(), "little") % 2**32
        voiceprints = {str(voice): Voiceprint(MODEL_ID, voiceprint(voice, seed)) for voice in set(voices)}
        return build_diarization(turns, voiceprints, engine=self.name, model=self.model)


def voiceprint(voice: int, seed: int) -> NDArray[np.float32]:
    """Return the voiceprint of a voice in one recording, shape (DIM,)."""
    direction = np.random.default_rng(voice).standard_normal(DIM)
    noise = np.random.default_rng(seed + voice).standard_normal(DIM)
    return (direction + NOISE * noise).astype(np.float32)


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the diarization service, with the voices that the test has chosen."""
    objects = ObjectStore(json.loads(settings_json)["object_store_url"])
    return {DIARIZE: DiarizationEngine(objects, lambda _choice: (ChosenVoices(), ())).diarize}


def record(folder: Path, voices: Sequence[int], **changes: Any) -> MediaRef:
    """Return a recording in which the voices speak for a second each.

    Args:
        folder: holds the file, and the object store in `objects`.
        voices: numbers from 1 to 90, in the order in which they speak.
        **changes: fields that replace the usual ones.
    """
    samples = np.repeat(np.array(voices) * _STEP, RATE)
    samples[-8:] = np.random.default_rng().uniform(-0.5, 0.5, 8)
    return media_of(folder, samples, **{"profile": "meeting"} | changes)


def media_of(folder: Path, samples: Any, **changes: Any) -> MediaRef:
    """Return a recording whose rendition is in the object store.

    Args:
        folder: holds the file, and the object store in `objects`.
        samples: shape (samples,), 16 kHz mono, [-1, 1].
        **changes: fields that replace the usual ones.
    """
    path = folder / f"{uuid4()}.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes((samples * 32_767).astype("<i2").tobytes())
    objects = ObjectStore((folder / "objects").as_uri())
    return MediaRef.model_validate(
        {
            "media_id": uuid7(),
            "uri": path.as_uri(),
            "file_name": path.name,
            "file_size": path.stat().st_size,
            "kind": "audio",
            "mime_type": "audio/x-wav",
            "duration_s": len(samples) / RATE,
            "file_hash": uuid4().hex * 2,
            "secondary_hash": uuid4().hex,
            "content_fp": f"pcm16k1:{uuid4().hex}",
            "rendition_uri": objects.put(f"renditions/{path.name}", path),
        }
        | changes
    )


def ready(media: MediaRef) -> MediaReady:
    """Return the event of a new recording."""
    return MediaReady(
        media_id=media.media_id,
        media=media,
        container="wav",
        audio=Stream(codec="pcm"),
        job=JobSummary(job_id=uuid7(), service=Service.INGEST),
    )
