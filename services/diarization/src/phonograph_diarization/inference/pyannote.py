"""The engine that works best: a pyannote.audio 4 pipeline, from a local folder or with a token."""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.constants import NO_SPEECH, PYANNOTE, SAMPLE_RATE_HZ
from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Turn,
    Voiceprint,
    diarization,
)
from phonograph_diarization.domain.ports import Diarizer
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress

_STAGES = {
    "segmentation": (0.0, 0.5, "speech"),
    "speaker_counting": (0.5, 0.5, "speakers"),
    "embeddings": (0.5, 0.95, "voices"),
    "discrete_diarization": (0.95, 1.0, "turns"),
}
"""Steps of the pipeline: the fraction done at their start and end, and our word for them."""


class PyannoteDiarizer(Diarizer):
    """pyannote.audio 4; the waveform is passed in memory, so neither torchcodec nor FFmpeg is needed."""

    def __init__(
        self,
        model: str,
        *,
        token: str | None = None,
        device: str = "auto",
        download: bool = False,
        pipeline: Any = None,
        to_tensor: Callable[[NDArray[np.float32]], Any] | None = None,
    ) -> None:
        """Name what to load; nothing is loaded yet.

        Args:
            model: a folder with a `config.yaml`, or the name of a pipeline on the Hugging Face hub.
            token: for a gated model on the hub.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, …
            download: whether a model that is not on this machine may be fetched.
            pipeline: a pipeline that is loaded already.
            to_tensor: makes a waveform of shape (1, samples) into what the pipeline takes.
        """
        self._model = model
        self._token = token
        self._device = device
        self._download = download
        self._pipeline = pipeline
        self._to_tensor = to_tensor

    @property
    @override
    def engine(self) -> str:
        return PYANNOTE

    @property
    @override
    def model(self) -> str:
        return Path(self._model).name if Path(self._model).is_dir() else self._model

    @override
    def load(self) -> None:
        if self._pipeline is None:
            self._pipeline, self._to_tensor = self._load()

    @override
    def predict(self, samples: NDArray[np.float32], bounds: SpeakerBounds, progress: Progress) -> Diarization:
        self.load()
        if samples.size == 0:
            return diarization([], {}, engine=self.engine, model=self.model, no_turns_reason=NO_SPEECH)
        waveform = samples[np.newaxis, :]
        output = self._pipeline(
            {
                "waveform": self._to_tensor(waveform) if self._to_tensor else waveform,
                "sample_rate": SAMPLE_RATE_HZ,
                "uri": "recording",
            },
            hook=_Hook(progress),
            **_wanted(bounds),
        )
        return self._result(output)

    def _result(self, output: Any) -> Diarization:
        """Turns without overlap where the pipeline gives them: a word has one speaker."""
        everything = getattr(output, "speaker_diarization", output)
        exclusive = getattr(output, "exclusive_speaker_diarization", None)
        turns = [
            Turn(round(segment.start, 3), round(segment.end, 3), str(label))
            for segment, _, label in (exclusive or everything).itertracks(yield_label=True)
        ]
        vectors = getattr(output, "speaker_embeddings", None)
        voiceprints = {
            str(label): Voiceprint(f"pyannote:{self.model}", np.asarray(vector, np.float32))
            for label, vector in zip(everything.labels(), [] if vectors is None else vectors, strict=False)
            if np.all(np.isfinite(vector)) and np.any(vector)
        }
        return diarization(
            turns, voiceprints, engine=self.engine, model=self.model, no_turns_reason=NO_SPEECH
        )

    def _load(self) -> tuple[Any, Callable[[NDArray[np.float32]], Any]]:
        """The pipeline on its device, and what makes tensors for it.

        Raises:
            EngineUnavailableError: the package or the model is not there, or does not load.
        """
        if not is_installed():
            raise EngineUnavailableError(
                "The engine pyannote needs torch and pyannote.audio, which are not installed; "
                "run `make install-gpu`, or set DIARIZATION_ENGINE=silero-mfcc."
            )
        folder = self._folder()
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        try:
            import torch
            from pyannote.audio import Pipeline

            pipeline = Pipeline.from_pretrained(folder)
            if pipeline is None:
                raise EngineUnavailableError(f"{folder} holds no pyannote.audio pipeline.")
            device = self._device
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            pipeline.to(torch.device(device))
        except EngineUnavailableError:
            raise
        except Exception as error:
            raise EngineUnavailableError(
                f"The pyannote pipeline {self._model} does not load: {error}"
            ) from error
        return pipeline, torch.from_numpy

    def _folder(self) -> Path:
        """Where the model lies on this machine, fetched first where that is allowed."""
        if Path(self._model).is_dir():
            return Path(self._model)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(self._model, token=self._token, local_files_only=not self._download)
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            raise EngineUnavailableError(
                f"The pyannote model {self._model} is not on this machine. Put it into a folder and "
                "name that in DIARIZATION_PYANNOTE_MODEL, or accept its terms on the hub and set "
                "DIARIZATION_PYANNOTE_TOKEN."
            ) from error


def is_installed() -> bool:
    """Whether torch and pyannote.audio are there."""
    try:
        return find_spec("torch") is not None and find_spec("pyannote.audio") is not None
    except ModuleNotFoundError:
        return False


def _wanted(bounds: SpeakerBounds) -> dict[str, int]:
    """The pipeline's words for the bounds."""
    if bounds.exact is not None:
        return {"num_speakers": bounds.exact}
    wanted = {"min_speakers": bounds.minimum}
    if bounds.maximum is not None:
        wanted["max_speakers"] = bounds.maximum
    return wanted


class _Hook:
    """Turns the pipeline's reports into progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(
        self,
        step_name: str,
        _artefact: Any,
        *,
        file: Mapping[str, Any] | None = None,  # noqa: ARG002  # the pipeline passes it
        total: int | None = None,
        completed: int | None = None,
    ) -> None:
        start, end, stage = _STAGES.get(step_name, (0.95, 1.0, "turns"))
        part = completed / total if total and completed is not None else 1.0
        self._progress(start + (end - start) * part, stage)
