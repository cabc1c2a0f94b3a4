"""Settings of the analysis service, from `ANALYSIS_*`."""

from pydantic_settings import SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the service: those of the runtime, and no others."""

    model_config = SettingsConfigDict(env_prefix="ANALYSIS_")
