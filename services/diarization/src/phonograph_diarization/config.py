"""Settings of the diarization service, from `DIARIZATION_*`."""

from pathlib import Path

from pydantic import Field, SecretStr, field_serializer, field_validator
from pydantic_settings import SettingsConfigDict

from phonograph_diarization.domain.engines import EngineChoice
from phonograph_models import models_folder
from phonograph_runtime.cores import count_cores
from phonograph_runtime.settings import ServiceSettings

MAX_THREADS = 4
"""The networks are small: they gain little from more."""


def default_threads() -> int:
    """Return half of the cores: the engines of the other services need the rest."""
    return min(max(count_cores() // 2, 1), MAX_THREADS)


class Settings(ServiceSettings):
    """The runtime's settings and the choice of the engine."""

    model_config = SettingsConfigDict(env_prefix="DIARIZATION_")

    engine: EngineChoice = Field(
        default=EngineChoice.AUTO,
        title="Engine",
        description="`auto`: pyannote if it is installed and its model is on this machine, else "
        "segmentation-ge2e, else, with a warning, silero-mfcc, which works everywhere. A named engine that "
        "cannot load fails the job.",
    )
    models: Path = Field(
        default_factory=models_folder,
        title="Models",
        description="One folder for each model; by default PHONOGRAPH_MODELS, or a folder in the user's "
        "cache that all checkouts share.",
    )
    threads: int = Field(
        default_factory=default_threads,
        ge=1,
        title="Threads",
        description="Of segmentation-ge2e; by default half of the cores, at most 4: transcription works on "
        "the same recording at the same time.",
    )
    pyannote_model: str = Field(
        default="pyannote/speaker-diarization-community-1",
        title="pyannote model",
        description="Folder with a config.yaml, or a name on the hub; the default is the best open one.",
    )
    pyannote_token: SecretStr | None = Field(
        default=None,
        title="Hub token",
        description="With engine=pyannote the model may then be fetched; auto never fetches anything.",
    )
    device: str = Field(
        default="auto",
        title="Device of pyannote",
        description="`cpu`, `cuda`, `cuda:1`; `auto` takes CUDA if it is available.",
    )

    @field_validator("models")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_serializer("pyannote_token", when_used="json-unless-none")
    def _serialize_token(self, token: SecretStr) -> str:
        """Return the token itself: the child process gets its settings as JSON."""
        return token.get_secret_value()
