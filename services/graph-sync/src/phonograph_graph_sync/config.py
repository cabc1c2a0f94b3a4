"""Settings of the graph-sync service, from `GRAPH_SYNC_*`."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from phonograph_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The runtime's settings and the address of Neo4j."""

    model_config = SettingsConfigDict(env_prefix="GRAPH_SYNC_")

    neo4j_uri: str = Field(
        default="bolt://127.0.0.1:7687",
        title="Neo4j",
        description="Bolt address; that of the local stack. `neo4j+s://…` and `bolt+s://…` encrypt.",
    )
    neo4j_ca_file: Path | None = Field(
        default=None,
        title="Certificate authority of Neo4j",
        description="PEM file; the authorities of the system without it.",
    )
    neo4j_user: str = Field(
        default="neo4j", title="User of Neo4j", description="The only user of a new Neo4j Community server."
    )
    neo4j_password: SecretStr = Field(
        default=SecretStr(""),
        title="Password of Neo4j",
        description="Empty: no authentication, as in the local stack.",
    )
