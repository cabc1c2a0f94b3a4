"""The most accurate diarizer: a pyannote.audio 4 pipeline, from a local folder or the hub."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Turn,
    Voiceprint,
    build_diarization,
)
from phonograph_diarization.domain.engines import EngineChoice
from phonograph_diarization.domain.ports import Diarizer
from phonograph_media import SAMPLE_RATE_HZ
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress

_STAGES = {
    "segmentation": (0.0, 0.5, "speech"),
    "speaker_counting": (0.5, 0.5, "speakers"),
    "embeddings": (0.5, 0.95, "voices"),
    "discrete_diarization": (0.95, 1.0, "turns"),
}
"""Fraction done at the start and end of each step of the pipeline, and the stage that is reported."""


class PyannoteDiarizer(Diarizer):
    """Runs pyannote.audio 4; the waveform is passed in memory: torchcodec and FFmpeg are not needed."""

    def __init__(
        self,
        model: str,
        *,
        token: str | None = None,
        device: str = "auto",
        may_download: bool = False,
        pipeline: Any = None,
        to_tensor: Callable[[NDArray[np.float32]], Any] | None = None,
    ) -> None:
        """Create the diarizer; nothing is loaded yet.

        Args:
            model: A folder with a `config.yaml`, or the name of a pipeline on the Hugging Face hub.
            token: Token for a gated model on the hub.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, …
            may_download: Whether a model that is not on this machine may be fetched.
            pipeline: A loaded pipeline.
            to_tensor: Converts a waveform of shape (1, samples) for the pipeline.
        """
        self._model = model
        self._token = token
        self._device = device
        self._may_download = may_download
        self._pipeline = pipeline
        self._to_tensor = to_tensor

    @property
    @override
    def name(self) -> str:
        return EngineChoice.PYANNOTE.value

    @property
    @override
    def model(self) -> str:
        return Path(self._model).name if Path(self._model).is_dir() else self._model

    @override
    def load(self) -> None:
        if self._pipeline is None:
            self._pipeline, self._to_tensor = self._load()

    @override
    def predict(
        self, samples: NDArray[np.float32], *, bounds: SpeakerBounds, progress: Progress
    ) -> Diarization:
        self.load()
        if samples.size == 0:
            return build_diarization([], {}, engine=self.name, model=self.model)
        waveform = samples[np.newaxis, :]
        output = self._pipeline(
            {
                "waveform": self._to_tensor(waveform) if self._to_tensor else waveform,
                "sample_rate": SAMPLE_RATE_HZ,
                "uri": "recording",
            },
            hook=_ProgressHook(progress),
            **_speaker_options(bounds),
        )
        return self._to_diarization(output)

    def _to_diarization(self, output: Any) -> Diarization:
        """Return the output of the pipeline, with turns that do not overlap if it has them.

        A word has one speaker, so the transcript has no use for overlap. Older pipelines return the plain
        annotation.
        """
        overlapping = getattr(output, "speaker_diarization", output)
        exclusive = getattr(output, "exclusive_speaker_diarization", None)
        turns = [
            Turn(round(segment.start, 3), round(segment.end, 3), str(label))
            for segment, _, label in (exclusive or overlapping).itertracks(yield_label=True)
        ]
        vectors = getattr(output, "speaker_embeddings", None)
        voiceprints = {
            str(label): Voiceprint(f"pyannote:{self.model}", np.asarray(vector, np.float32))
            for label, vector in zip(overlapping.labels(), [] if vectors is None else vectors, strict=False)
            if np.all(np.isfinite(vector)) and np.any(vector)
        }
        return build_diarization(turns, voiceprints, engine=self.name, model=self.model)

    def _load(self) -> tuple[Any, Callable[[NDArray[np.float32]], Any]]:
        """Return the pipeline on its device, and the function that converts waveforms for it.

        Raises:
            EngineUnavailableError: If the package or the model is missing or does not load.
        """
        if not is_installed():
            raise EngineUnavailableError(
                "The engine pyannote needs torch and pyannote.audio, which are not installed; "
                "run `make install-gpu`, or set DIARIZATION_ENGINE=silero-mfcc."
            )
        folder = self._find_model()
        # Telemetry is off; set before the import, which may read it.
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        try:
            import torch
            from pyannote.audio import Pipeline

            pipeline = Pipeline.from_pretrained(folder)
            if pipeline is None:
                raise EngineUnavailableError(f"{folder} contains no pyannote.audio pipeline.")
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

    def _find_model(self) -> Path:
        """Return the folder of the model on this machine; fetch it first if that is allowed."""
        if Path(self._model).is_dir():
            return Path(self._model)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(self._model, token=self._token, local_files_only=not self._may_download)
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            raise EngineUnavailableError(
                f"The pyannote model {self._model} is not on this machine. Put it into a folder and "
                "name that in DIARIZATION_PYANNOTE_MODEL, or accept its terms on the hub and set "
                "DIARIZATION_PYANNOTE_TOKEN."
            ) from error


def is_installed() -> bool:
    """Return whether torch and pyannote.audio are installed."""
    try:
        return find_spec("torch") is not None and find_spec("pyannote.audio") is not None
    except ModuleNotFoundError:
        return False


def _speaker_options(bounds: SpeakerBounds) -> dict[str, int]:
    """Return the bounds as arguments of the pipeline."""
    if bounds.exact is not None:
        return {"num_speakers": bounds.exact}
    options = {"min_speakers": bounds.minimum}
    if bounds.maximum is not None:
        options["max_speakers"] = bounds.maximum
    return options


class _ProgressHook:
    """Reports the progress of the pipeline."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(
        self,
        step_name: str,
        _artifact: Any,
        *,
        total: int | None = None,
        completed: int | None = None,
        **_context: Any,
    ) -> None:
        start, end, stage = _STAGES.get(step_name, (0.95, 1.0, "turns"))
        fraction = completed / total if total and completed is not None else 1.0
        self._progress(start + (end - start) * fraction, stage)
