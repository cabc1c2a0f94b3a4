"""Tasks of the jobs of this service."""

from pydantic import BaseModel, ConfigDict

from phonograph_events import Options, Profile


class IngestTask(BaseModel):
    """Read and register a file (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    uri: str
    profile: Profile | str = Profile.AUTO
    """A profile that is not a `Profile` is accepted here; the engine rejects the file with a reason."""
    owner: str | None = None
    priority: int = 0
    options: Options = Options()
