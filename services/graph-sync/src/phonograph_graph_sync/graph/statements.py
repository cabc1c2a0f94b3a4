"""The Cypher that writes changes: one statement for each shape of row, each row once, sorted by key.

Labels, types and property names come from the enumerations of the domain, values always as parameters.
Rows are lists, and times in them are seconds and nanoseconds since 1970: the driver needs longer to write
names and dates than the server to store them. Nodes are found by key once; edges take their numbers (`id`),
which hold as long as the transaction that read them.

Neo4j reads what is committed, and MERGE of a known node takes no lock: two writers could both find
themselves newer. So whatever is compared is locked first, and then read through `collect`: without that
barrier the planner may read a property before the lock is taken and use that value after it.
"""

from typing import Final

from phonograph_graph_sync.domain.graph import KEYS, PART_CHILDREN, PART_EDGES, Aspect, Label, Relation

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
"""Only these two are pointed to by events other than their own."""
CREATE_EDGES: Final = """
UNWIND $rows AS row
MATCH (a) WHERE id(a) = row[0]
MATCH (b) WHERE id(b) = row[1]
CREATE (a)-[e:$(row[2])]->(b)
SET e = row[3]
SET e.created_at = CASE WHEN row[4] IS NULL THEN NULL ELSE datetime.fromEpoch(row[4], row[5]) END
"""
"""Edges that cannot be there yet. Rows: start, end, type, properties, time."""
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
"""Rows: location, recording, properties with the order."""

_LOCKED: Final = "SET n._lock = true REMOVE n._lock"


def shared_nodes(label: Label) -> str:
    """Nodes that are only added to. Rows: position, key, time, properties. Gives positions, ids, new or not.

    Of the properties, the earliest time and release date and the highest confidence are kept.
    """
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
ON CREATE SET n += row[4]
WITH n, row, n.created_at AS held, datetime.fromEpoch(row[2], row[3]) AS time
WITH n, row, held IS NULL AS made, time, time < held
    OR row[4].confidence > coalesce(n.confidence, -1)
    OR row[4].release_date < coalesce(n.release_date, row[4].release_date + '~') AS better
{_if("better", _LOCKED)}
WITH collect([n, row, made, time, made OR better]) AS locked
UNWIND locked AS each
WITH each[0] AS n, each[1] AS row, each[2] AS made, each[3] AS time, each[4] AS changes
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
RETURN collect([row[0], id(n), made]) AS found
"""


def told_nodes(label: Label) -> str:
    """Nodes with parts. A part that is newer than what the graph holds takes its place.

    Rows: position, key, time of creation, time of the last part, parts; a part is the name of the property
    that holds its order, and its properties with that one. Gives positions, ids, new or not, and the names of
    the parts that stand now, each with whether there was an older one.
    """
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
WITH n, row, n.created_at AS held, datetime.fromEpoch(row[2], row[3]) AS created
{_if("held IS NOT NULL AND (row[6] <> [] OR created < held)", _LOCKED)}
WITH collect([n, row, held IS NULL, created]) AS locked
UNWIND locked AS each
WITH each[0] AS n, each[1] AS row, each[2] AS made, each[3] AS created
WITH n, row, made, created,
    [part IN row[6] WHERE coalesce(n[part[0]] < part[1][part[0]], true)] AS newer
WITH n, row, made, created, newer, [part IN newer | [part[0], n[part[0]] IS NOT NULL]] AS stood
FOREACH (part IN newer | SET n += part[1])
{_if("made OR created < n.created_at", "SET n.created_at = created")}
FOREACH (updated IN CASE WHEN row[6] = [] THEN [] ELSE [datetime.fromEpoch(row[4], row[5])] END |
    SET n.updated_at = {_greatest("n.updated_at", "updated")}
)
RETURN collect([row[0], id(n), made, stood]) AS found
"""


def child_nodes(label: Label) -> str:
    """Nodes that belong to a part that stands. Rows and answer: as those of `shared_nodes`."""
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row[1]")})
WITH n, row, n.created_at IS NULL AS made
SET n += row[4]
SET n.created_at = datetime.fromEpoch(row[2], row[3])
RETURN collect([row[0], id(n), made]) AS found
"""


def merge_edges(relation: Relation) -> str:
    """Edges that may be there. Rows: start, end."""
    return f"""
UNWIND $rows AS row
MATCH (a) WHERE id(a) = row[0]
MATCH (b) WHERE id(b) = row[1]
MERGE (a)-[:{relation}]->(b)
"""


def remove_edges(aspect: Aspect) -> str:
    """Remove the edges that a part had. Rows: its owners."""
    return f"""
UNWIND $rows AS row
MATCH (n)-[e:{"|".join(PART_EDGES[aspect])}]->()
WHERE id(n) = row AND e.part = '{aspect}'
DELETE e
"""


def remove_children(aspect: Aspect) -> str:
    """Remove the nodes that belonged to a part. Rows: its owners."""
    return f"""
UNWIND $rows AS row
MATCH (n)-[:{"|".join(PART_CHILDREN[aspect])}]->(child)
WHERE id(n) = row
DETACH DELETE child
"""


def _key(label: Label, source: str) -> str:
    return "{" + ", ".join(f"{name}: {source}[{index}]" for index, name in enumerate(KEYS[label])) + "}"


def _if(condition: str, then: str) -> str:
    return f"FOREACH (_ IN CASE WHEN {condition} THEN [0] ELSE [] END | {then})"


def _least(held: str, told: str) -> str:
    return f"CASE WHEN {held} IS NULL OR {told} < {held} THEN {told} ELSE {held} END"


def _greatest(held: str, told: str) -> str:
    return f"CASE WHEN {held} IS NULL OR {held} < {told} THEN {told} ELSE {held} END"
