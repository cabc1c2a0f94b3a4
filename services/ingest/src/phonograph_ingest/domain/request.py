"""A request for a file, as the job keeps it."""

from pydantic import BaseModel, ConfigDict

from phonograph_events import Options, Profile


class IngestTask(BaseModel):
    """The task of an ingest job (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    uri: str
    profile: Profile | str = Profile.AUTO
    owner: str | None = None
    priority: int = 0
    options: Options = Options()
