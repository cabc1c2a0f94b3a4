"""Constraints and indexes: every label that is merged has a uniqueness constraint (K-18, K-19, K-20)."""

from collections.abc import Iterator
from typing import Final

from neo4j import AsyncDriver
from neo4j.exceptions import ClientError

from phonograph_graph_sync.domain.graph import KEYS, Label

_NAMES: Final = {
    Label.RECORDING: "recording_id",
    Label.ARTIST: "artist_name",
    Label.ALBUM: "album_composite",
    Label.GENRE: "genre_name",
    Label.KEY: "key_composite",
}
_NODE_INDEXES: Final = {
    "recording_file_path": ("Recording", "file_path"),
    "recording_hash": ("Recording", "file_hash"),
    "metadata_key": ("Metadata", "key"),
    "metadata_value": ("Metadata", "value"),
    "artist_normalized": ("Artist", "normalized_name"),
    "album_title": ("Album", "normalized_title"),
    "genre_name_idx": ("Genre", "name"),
    "recording_status": ("Recording", "status"),
    "job_status": ("Job", "status"),
    "person_name": ("Person", "name"),
    "transcript_pipeline_version": ("Transcript", "pipeline_version"),
}
_EDGE_INDEXES: Final = {
    "rel_has_metadata_confidence": ("HAS_METADATA", "confidence"),
    "rel_performed_by_role": ("PERFORMED_BY", "role"),
    "rel_similar_to_score": ("SIMILAR_TO", "similarity_score"),
    "rel_harmonic_compatible_score": ("HARMONIC_COMPATIBLE", "compatibility_score"),
}
_ALREADY_EXISTS: Final = {
    "Neo.ClientError.Schema.ConstraintAlreadyExists",
    "Neo.ClientError.Schema.EquivalentSchemaRuleAlreadyExists",
    "Neo.ClientError.Schema.IndexAlreadyExists",
}
"""A constraint has its own index, so an index may exist already under another name (C-31)."""


def statements() -> Iterator[str]:
    """Yield the statement for each constraint and index."""
    yield _unique("graph_offset", "KafkaOffset", ("consumer", "topic", "partition"))
    yield _unique("graph_state", "GraphState", ("id",))
    for node_label, key in KEYS.items():
        yield _unique(_NAMES.get(node_label, f"{node_label.lower()}_key"), node_label, key)
    for name, (label, field) in _NODE_INDEXES.items():
        yield f"CREATE INDEX {name} IF NOT EXISTS FOR (n:{label}) ON (n.{field})"
    for name, (relation, field) in _EDGE_INDEXES.items():
        yield f"CREATE INDEX {name} IF NOT EXISTS FOR ()-[r:{relation}]-() ON (r.{field})"


async def ensure_schema(driver: AsyncDriver) -> None:
    """Create missing constraints and indexes, and wait until every index can be used. Safe to repeat."""
    for statement in statements():
        try:
            await driver.execute_query(statement)
        except ClientError as error:
            if error.code not in _ALREADY_EXISTS:
                raise
    await driver.execute_query("CALL db.awaitIndexes(300)")


def _unique(name: str, label: str, key: tuple[str, ...]) -> str:
    fields = ", ".join(f"n.{field}" for field in key)
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE ({fields}) IS UNIQUE"
