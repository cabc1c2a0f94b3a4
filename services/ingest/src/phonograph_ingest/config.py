"""Settings of the ingest service, from `INGEST_*`."""

from pydantic_settings import SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the service: those of the runtime, and no others."""

    model_config = SettingsConfigDict(env_prefix="INGEST_")
