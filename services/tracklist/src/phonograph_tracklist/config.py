"""Settings of the tracklist service, from `TRACKLIST_*`."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The runtime's settings and the interval of the statistics."""

    model_config = SettingsConfigDict(env_prefix="TRACKLIST_")

    stats_refresh: timedelta = Field(
        default=timedelta(days=1),
        gt=timedelta(0),
        title="Refresh of recording_stats",
        description="How often the monthly counts are recomputed; reports can use counts that are a day old.",
    )
