"""Settings of the transcription service, from `TRANSCRIPTION_*`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings
from phonograph_transcription.domain.engines import EngineChoice


class ModelSettings(BaseSettings):
    """The folder of the models; `phonograph-transcription models` needs no other setting."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIPTION_")

    models: Path = Field(
        default=Path("~/.cache/phonograph/models/whisper"),
        title="Models",
        description="One folder for each Whisper model; in the user's cache, so that checkouts share it.",
    )

    @field_validator("models")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()


class Settings(ServiceSettings, ModelSettings):
    """The runtime's settings and those of speech recognition."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIPTION_")

    engine: EngineChoice = Field(
        default=EngineChoice.AUTO,
        title="Engine",
        description="`auto`: the Whisper model if it is on this machine, else pocketsphinx.",
    )
    model: str = Field(
        default="distil-large-v3",
        title="Whisper model",
        description="Name, repository or folder of a CTranslate2 model; never downloaded automatically.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", title="Device", description="`auto` takes a GPU if there is one."
    )
    compute_type: str = Field(
        default="default",
        title="Compute type",
        description="Of CTranslate2: int8 saves memory, float16 suits GPUs; `default` keeps the model's own.",
    )
    whisper_batch_size: int = Field(
        default=8,
        ge=1,
        title="Batch",
        description="Chunks of 30 s at once, limited by memory; 1 can decode a bad chunk again.",
    )
    beam_size: int = Field(
        default=5, ge=1, title="Beam", description="Width of the search; smaller is faster and less accurate."
    )
