"""A Whisper model that asks for less memory when there is not enough."""

from collections.abc import Callable
from typing import Final

import structlog

from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.domain.transcript import TranscriptWarning, WarningCode
from phonograph_transcription.inference.whisper_model import SpeechModel

LoadModel = Callable[[str, str], SpeechModel]
"""Takes a device and a compute type; raises `EngineUnavailableError`."""

_SMALL_TYPE: Final = "int8"
_CPU: Final = "cpu"
_SIGNS: Final = ("out of memory", "alloc_failed", "bad_alloc", "failed to allocate")
"""Parts of the messages of CTranslate2, CUDA and cuBLAS."""

logger = structlog.get_logger()


class MemoryAwareModel:
    """A model with its batch size; each step down needs less memory and lasts until the process ends."""

    def __init__(self, load_model: LoadModel, *, device: str, compute_type: str, batch_size: int) -> None:
        """Create it; nothing is loaded yet.

        Args:
            load_model: Loads the model.
            device: `auto`, `cpu` or `cuda`.
            compute_type: A type of CTranslate2.
            batch_size: Chunks at once.
        """
        self._load_model = load_model
        self._device = device
        self._compute_type = compute_type
        self._configured_batch_size = batch_size
        self._model: SpeechModel | None = None
        self._steps: dict[str, str] = {}
        self.batch_size = batch_size

    @property
    def warnings(self) -> tuple[TranscriptWarning, ...]:
        """One warning for each kind of step."""
        return tuple(
            TranscriptWarning(WarningCode.MEMORY_FALLBACK, f"The memory of the device was full: {step}.")
            for step in self._steps.values()
        )

    def load(self) -> SpeechModel:
        """Return the model, loaded with as few steps as needed.

        Raises:
            EngineUnavailableError: If it cannot be loaded.
        """
        while self._model is None:
            try:
                self._model = self._load_model(self._device, self._compute_type)
            except EngineUnavailableError as error:
                # The batch has no influence on loading, and `auto` can mean the CPU.
                if not (is_out_of_memory(error) and self._reduce_model(is_on_gpu=self._device != _CPU)):
                    raise
        return self._model

    def reduce(self, error: Exception) -> None:
        """Step down: half the batch, then int8, then the CPU.

        Args:
            error: What a method of the model raised.

        Raises:
            MemoryError: If no step is left.
            Exception: `error`, if it has another cause.
        """
        if not is_out_of_memory(error):
            raise error
        if self.batch_size > 1:
            self.batch_size //= 2
            self._step("batch", f"the batch was reduced to {self.batch_size}")
        elif not self._reduce_model(is_on_gpu=self._model is None or self._model.device != _CPU):
            raise MemoryError from error

    def _reduce_model(self, *, is_on_gpu: bool) -> bool:
        """Change how the model is loaded the next time; return whether there was a way."""
        if self._compute_type != _SMALL_TYPE:
            self._compute_type = _SMALL_TYPE
            self._step("type", "the model was loaded as int8")
        elif is_on_gpu:
            self._device = _CPU
            # A CPU has another memory, which may well hold the batch.
            self.batch_size = self._configured_batch_size
            self._steps.pop("batch", None)
            self._step("device", "the model was moved to the CPU")
        else:
            return False
        self._model = None
        return True

    def _step(self, kind: str, step: str) -> None:
        self._steps[kind] = step
        logger.warning("memory full", step=step)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error reports that memory could not be allocated."""
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in message for sign in _SIGNS)
