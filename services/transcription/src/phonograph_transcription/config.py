"""Settings of the transcription service, from `TRANSCRIPTION_*`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from phonograph_models import models_folder
from phonograph_runtime.cores import count_cores
from phonograph_runtime.settings import ServiceSettings
from phonograph_transcription.domain.engines import EngineChoice

MIN_THREADS = 2
MAX_THREADS = 8
"""Whisper gains little from more."""


def default_threads() -> int:
    """Return half of the cores: the engines of the other services need the rest."""
    cores = count_cores()
    return min(max(cores // 2, MIN_THREADS), MAX_THREADS, cores)


class Settings(ServiceSettings):
    """The runtime's settings and those of speech recognition."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIPTION_")

    engine: EngineChoice = Field(
        default=EngineChoice.AUTO,
        title="Engine",
        description="`auto`: the Whisper model if it is on this machine, else pocketsphinx with a warning.",
    )
    model: str = Field(
        default="base",
        title="Whisper model",
        description="Name, repository or folder of a CTranslate2 model; never downloaded automatically. "
        "The default is the smallest one whose texts can be published, and keeps pace with two cores.",
    )
    models: Path = Field(
        default_factory=models_folder,
        title="Models",
        description="One folder for each model; by default PHONOGRAPH_MODELS, or a folder in the user's "
        "cache that all checkouts share.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", title="Device", description="`auto` takes a GPU if there is one."
    )
    compute_type: str = Field(
        default="auto",
        title="Compute type",
        description="Of CTranslate2. `auto`: int8 on a CPU, which costs no accuracy, and float16 on a GPU; "
        "`default` keeps the model's own.",
    )
    whisper_batch_size: int = Field(
        default=8,
        ge=1,
        title="Batch",
        description="Chunks of 30 s at once, limited by memory, of which a GPU uses more.",
    )
    beam_size: int = Field(
        default=5, ge=1, title="Beam", description="Width of the search; smaller is faster and less accurate."
    )

    threads: int = Field(
        default_factory=default_threads,
        ge=1,
        title="Threads",
        description="Of Whisper on a CPU; by default half of the cores, from 2 to 8, since other engines run "
        "at the same time.",
    )

    @field_validator("models")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()
