"""Settings of the diarization service, from `DIARIZATION_*`."""

from pydantic import Field, SecretStr, field_serializer
from pydantic_settings import SettingsConfigDict

from phonograph_diarization.domain.engines import EngineChoice
from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The runtime's settings and the choice of the engine."""

    model_config = SettingsConfigDict(env_prefix="DIARIZATION_")

    engine: EngineChoice = Field(
        default=EngineChoice.AUTO,
        title="Engine",
        description="`auto`: pyannote if it is installed and its model is on this machine, else "
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
        description="`cpu`, `cuda`, `cuda:1`; `auto` takes CUDA if it is available.",
    )

    @field_serializer("pyannote_token", when_used="json-unless-none")
    def _serialize_token(self, token: SecretStr) -> str:
        """Return the token itself: the child process gets its settings as JSON."""
        return token.get_secret_value()
