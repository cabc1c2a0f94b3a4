"""The Cypher that writes changes: one statement for each shape of row, each row once, sorted by key.

Labels, types and property names come from the enumerations of the domain, values always as parameters.
Rows are lists, and times in them are seconds and nanoseconds since 1970: the driver needs longer to write
names and dates than the server to store them. Nodes are found by key once; edges refer to them by their
numbers (`id`), which are valid until the transaction that read them ends.

Neo4j reads what is committed, and MERGE of a known node takes no lock: two writers could both find
themselves newer. So whatever is compared is locked first, and then read through `collect`: without that
barrier the planner may read a property before the lock is taken and use that value after it.
"""

from typing import Final

from phonograph_graph_sync.domain.graph import FACET_CHILDREN, FACET_EDGES, KEYS, Aspect, Label, Relation

LOCK_OFFSETS: Final = """
UNWIND $rows AS row
MERGE (k:KafkaOffset {consumer: $consumer, topic: row.topic, partition: row.partition})
ON CREATE SET k.offset = -1
ON MATCH SET k._lock = true
REMOVE k._lock
"""
STORE_OFFSETS: Final = """
UNWIND $rows AS row
MATCH (k:KafkaOffset {consumer: $consumer, topic: row.topic, partition: row.partition})
SET k.offset = row.offset
"""
READ_OFFSETS: Final = """
OPTIONAL MATCH (s:GraphState {id: 'graph'}) WHERE s.rebuilding_since IS NOT NULL
MATCH (k:KafkaOffset {consumer: $consumer})
RETURN k.topic AS topic, k.partition AS partition, k.offset AS offset, s IS NOT NULL AS rebuilding
"""
BEGIN_REBUILD: Final = """
MERGE (s:GraphState {id: 'graph'})
SET s.rebuilding_since = datetime()
"""
RESET_OFFSETS: Final = """
UNWIND $rows AS row
MERGE (k:KafkaOffset {consumer: $consumer, topic: row.topic, partition: row.partition})
SET k.offset = -1
"""
WIPE: Final = """
MATCH (n) WHERE NOT n:KafkaOffset AND NOT n:GraphState
CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS
"""
END_REBUILD: Final = "MATCH (s:GraphState {id: 'graph'}) REMOVE s.rebuilding_since"
SIZE: Final = """
CALL () { MATCH (n) WHERE NOT n:KafkaOffset AND NOT n:GraphState RETURN count(n) AS nodes }
CALL () { MATCH ()-[e]->() RETURN count(e) AS edges }
RETURN nodes, edges
"""
STUBS: Final = """
CALL () { MATCH (n:Recording) RETURN count(n) AS recordings }
CALL () { MATCH (n:Recording) WHERE n.status IS NOT NULL RETURN count(n) AS known_recordings }
CALL () { MATCH (n:Transcript) RETURN count(n) AS transcripts }
CALL () { MATCH (n:Transcript) WHERE n.pipeline_version IS NOT NULL RETURN count(n) AS known_transcripts }
RETURN recordings - known_recordings + transcripts - known_transcripts AS stubs
"""
"""Only nodes with these two labels are referred to by events other than their own."""
CREATE_EDGES: Final = """
UNWIND $rows AS row
MATCH (a) WHERE id(a) = row[0]
MATCH (b) WHERE id(b) = row[1]
CREATE (a)-[e:$(row[2])]->(b)
SET e = row[3]
SET e.created_at = CASE WHEN row[4] IS NULL THEN NULL ELSE datetime.fromEpoch(row[4], row[5]) END
"""
"""Edges that cannot exist yet. Rows: start, end, type, properties, time."""
SIGHTINGS: Final = """
UNWIND $rows AS row
MATCH (l) WHERE id(l) = row[0]
MATCH (r) WHERE id(r) = row[1]
MERGE (l)-[e:LOCATION_OF]->(r)
ON MATCH SET e._lock = true
REMOVE e._lock
WITH collect([e, row]) AS locked
UNWIND locked AS each
WITH each[0] AS e, each[1] AS row
WHERE e.order IS NULL OR e.order < row[2].order
SET e = row[2]
"""
"""The newest sighting applies. Rows: location, recording, properties with the order."""

_LOCK: Final = "SET n._lock = true REMOVE n._lock"


def shared_nodes(label: Label) -> str:
    """Return the statement that merges nodes that are only added to.

    Of the properties, the earliest time and release date and the highest confidence are stored.
    Rows: index, key, time, properties. Result: indexes, ids, whether the nodes are new.
    """
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
ON CREATE SET n += row[4]
WITH n, row, n.created_at AS stored, datetime.fromEpoch(row[2], row[3]) AS time
WITH n, row, stored IS NULL AS is_new, time, time < stored
    OR row[4].confidence > coalesce(n.confidence, -1)
    OR row[4].release_date < coalesce(n.release_date, row[4].release_date + '~') AS better
{_if("better", _LOCK)}
WITH collect([n, row, is_new, time, is_new OR better]) AS locked
UNWIND locked AS each
WITH each[0] AS n, each[1] AS row, each[2] AS is_new, each[3] AS time, each[4] AS changes
{
        _if(
            "changes",
            f'''
    SET n.created_at = {_least("n.created_at", "time")}
    SET n.confidence = {_greatest("n.confidence", "row[4].confidence")}
    SET n.release_date = {_least("n.release_date", "row[4].release_date")}
''',
        )
    }
RETURN collect([row[0], id(n), is_new]) AS found
"""


def facet_nodes(label: Label) -> str:
    """Return the statement that merges nodes with facets; a facet replaces an older one of its aspect.

    Rows: index, key, time of creation, time of the last facet, facets; a facet is the name of the property
    with its order, and its properties, including that one. Result: indexes, ids, whether the nodes are new,
    and the facets that were applied by the name of that property, each with whether it replaced an older one.
    """
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
WITH n, row, n.created_at AS stored, datetime.fromEpoch(row[2], row[3]) AS created
{_if("stored IS NOT NULL AND (row[6] <> [] OR created < stored)", _LOCK)}
WITH collect([n, row, stored IS NULL, created]) AS locked
UNWIND locked AS each
WITH each[0] AS n, each[1] AS row, each[2] AS is_new, each[3] AS created
WITH n, row, is_new, created,
    [facet IN row[6] WHERE coalesce(n[facet[0]] < facet[1][facet[0]], true)] AS newer
WITH n, row, is_new, created, newer, [facet IN newer | [facet[0], n[facet[0]] IS NOT NULL]] AS applied
FOREACH (facet IN newer | SET n += facet[1])
{_if("is_new OR created < n.created_at", "SET n.created_at = created")}
FOREACH (updated IN CASE WHEN row[6] = [] THEN [] ELSE [datetime.fromEpoch(row[4], row[5])] END |
    SET n.updated_at = {_greatest("n.updated_at", "updated")}
)
RETURN collect([row[0], id(n), is_new, applied]) AS found
"""


def child_nodes(label: Label) -> str:
    """Return the statement that merges nodes of applied facets. Rows and result: as for `shared_nodes`."""
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
WITH n, row, n.created_at IS NULL AS is_new
SET n += row[4]
SET n.created_at = datetime.fromEpoch(row[2], row[3])
RETURN collect([row[0], id(n), is_new]) AS found
"""


def merge_edges(relation: Relation) -> str:
    """Return the statement that merges edges that may exist. Rows: start, end."""
    return f"""
UNWIND $rows AS row
MATCH (a) WHERE id(a) = row[0]
MATCH (b) WHERE id(b) = row[1]
MERGE (a)-[:{relation}]->(b)
"""


def delete_facet_edges(aspect: Aspect) -> str:
    """Return the statement that deletes the edges of an older facet. Rows: the owners."""
    return f"""
UNWIND $rows AS row
MATCH (n)-[e:{"|".join(FACET_EDGES[aspect])}]-()
WHERE id(n) = row AND coalesce(e.part, '{aspect}') = '{aspect}'
DELETE e
"""


def delete_facet_children(aspect: Aspect) -> str:
    """Return the statement that deletes the nodes of an older facet. Rows: the owners."""
    return f"""
UNWIND $rows AS row
MATCH (n)-[:{"|".join(FACET_CHILDREN[aspect])}]->(child)
WHERE id(n) = row
DETACH DELETE child
"""


def _key(label: Label, source: str) -> str:
    return "{" + ", ".join(f"{name}: {source}[{index}]" for index, name in enumerate(KEYS[label])) + "}"


def _if(condition: str, then: str) -> str:
    return f"FOREACH (_ IN CASE WHEN {condition} THEN [0] ELSE [] END | {then})"


def _least(stored: str, other: str) -> str:
    return f"CASE WHEN {stored} IS NULL OR {other} < {stored} THEN {other} ELSE {stored} END"


def _greatest(stored: str, other: str) -> str:
    return f"CASE WHEN {stored} IS NULL OR {stored} < {other} THEN {other} ELSE {stored} END"
