"""Which recognisers there are, and what may be set on them."""

from dataclasses import dataclass
from enum import StrEnum


class EngineChoice(StrEnum):
    """What may be asked for."""

    AUTO = "auto"
    FASTER_WHISPER = "faster-whisper"
    POCKETSPHINX = "pocketsphinx"


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """How a Whisper model is run; nothing here is downloaded by itself."""

    model: str
    device: str = "auto"
    compute_type: str = "default"
    batch_size: int = 8
    beam_size: int = 5
