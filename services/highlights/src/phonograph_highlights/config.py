"""Settings of the highlights service, from `HIGHLIGHTS_*`."""

from pydantic_settings import SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The runtime's settings; the service has none of its own."""

    model_config = SettingsConfigDict(env_prefix="HIGHLIGHTS_")
