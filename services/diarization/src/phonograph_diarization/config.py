"""Settings of the diarization service, from `DIARIZATION_*`."""

from enum import StrEnum

from pydantic import Field, SecretStr, field_serializer
from pydantic_settings import SettingsConfigDict

from phonograph_diarization import constants
from phonograph_runtime.settings import ServiceSettings


class EngineChoice(StrEnum):
    """Which engine to use."""

    AUTO = "auto"
    PYANNOTE = constants.PYANNOTE
    SILERO_MFCC = constants.SILERO_MFCC


class Settings(ServiceSettings):
    """The runtime's settings and the choice of the engine."""

    model_config = SettingsConfigDict(env_prefix="DIARIZATION_")

    engine: EngineChoice = Field(
        default=EngineChoice.AUTO,
        title="Engine",
        description="`auto`: pyannote where it is installed and its model lies on this machine, else "
        "silero-mfcc, which works everywhere. A named engine that cannot load fails the job.",
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
        description="`cpu`, `cuda`, `cuda:1`; auto takes CUDA if it is there.",
    )

    @field_serializer("pyannote_token", when_used="json-unless-none")
    def _to_engine(self, token: SecretStr) -> str:
        """The engine's process gets its settings as JSON and needs the token itself."""
        return token.get_secret_value()
