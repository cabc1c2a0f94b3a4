"""The engines of the service and their options."""

from dataclasses import dataclass, field
from enum import StrEnum


class EngineChoice(StrEnum):
    """Values of the setting for the engine; all but `AUTO` are names of engines as results report them."""

    AUTO = "auto"
    PYANNOTE = "pyannote"
    SEGMENTATION_GE2E = "segmentation-ge2e"
    SILERO_MFCC = "silero-mfcc"


@dataclass(frozen=True, slots=True)
class PyannoteOptions:
    """Options of the pyannote pipeline."""

    model: str
    """A folder with a `config.yaml`, or the name of a pipeline on the Hugging Face hub."""
    token: str | None = field(default=None, repr=False)
    """Token for a gated model on the hub."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, …"""
