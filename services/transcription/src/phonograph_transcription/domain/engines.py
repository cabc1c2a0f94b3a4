"""The engines of the service and their options."""

from dataclasses import dataclass
from enum import StrEnum


class EngineChoice(StrEnum):
    """Values of the setting for the engine; all but `AUTO` are names of engines as results report them."""

    AUTO = "auto"
    FASTER_WHISPER = "faster-whisper"
    POCKETSPHINX = "pocketsphinx"


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """Options of a Whisper model."""

    model: str
    """Name, repository or folder of a CTranslate2 model that is on this machine."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    compute_type: str = "default"
    """A compute type of CTranslate2, for example `int8` or `float16`; `default` keeps the model's own."""
    batch_size: int = 8
    """Chunks of 30 s at once; 1 decodes the recording in order, with fallback temperatures."""
    beam_size: int = 5
    """Width of the search."""
