"""The Cypher that writes changes: one statement for each shape of row, each row once, sorted by key.

Labels, types and property names come from the enumerations of the domain, values always as parameters.
Neo4j reads what is committed and MERGE of a known node takes no lock, so every statement that compares
before it sets takes the node's write lock first (`_lock`): two writers could both find themselves newer.
"""

from typing import Final

from phonograph_graph_sync.domain.graph import KEYS, Aspect, Label, Relation

LOCK_OFFSETS: Final = """
UNWIND $rows AS row
MERGE (k:KafkaOffset {consumer: $consumer, topic: row.topic, partition: row.partition})
ON CREATE SET k.offset = -1
SET k._lock = true REMOVE k._lock
RETURN k.topic AS topic, k.partition AS partition, k.offset AS offset
"""
STORE_OFFSETS: Final = """
UNWIND $rows AS row
MATCH (k:KafkaOffset {consumer: $consumer, topic: row.topic, partition: row.partition})
SET k.offset = row.offset
"""
READ_OFFSETS: Final = """
MATCH (k:KafkaOffset {consumer: $consumer})
RETURN k.topic AS topic, k.partition AS partition, k.offset AS offset
"""
REBUILDING: Final = "MATCH (s:GraphState {id: 'graph'}) WHERE s.rebuilding_since IS NOT NULL RETURN s.id"
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
SIGHTINGS: Final = """
UNWIND $rows AS row
MATCH (l:Location {uri: row.location[0]})
MATCH (r:Recording {id: row.recording[0]})
MERGE (l)-[e:LOCATION_OF]->(r)
SET e._lock = true REMOVE e._lock
WITH e, row WHERE e.order IS NULL OR e.order < row.order
SET e = row.properties, e.order = row.order
"""


def add_nodes(label: Label) -> str:
    """Shared nodes and stubs: made once, their extremes kept. Rows: key, properties, and the extremes."""
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row.key")})
ON CREATE SET n += row.properties
WITH n, row WHERE n.created_at IS NULL OR row.created_at < n.created_at
    OR row.confidence IS NOT NULL AND (n.confidence IS NULL OR n.confidence < row.confidence)
    OR row.release_date IS NOT NULL AND (n.release_date IS NULL OR row.release_date < n.release_date)
SET n._lock = true REMOVE n._lock
SET n.created_at = {_least("created_at")}
SET n.confidence = {_greatest("confidence")}
SET n.release_date = {_least("release_date")}
"""


def claim_parts(label: Label, aspect: Aspect) -> str:
    """Parts that are newer than what the graph holds take its place.

    Rows: key, order, times, properties. Gives the keys of those that did, and whether there was an older one.
    """
    order = f"n.{aspect}_order"
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row.key")})
SET n._lock = true REMOVE n._lock
SET n.created_at = {_least("created_at")}
SET n.updated_at = {_greatest("updated_at")}
WITH n, row, {order} AS old WHERE old IS NULL OR old < row.order
SET n += row.properties, {order} = row.order
RETURN row.key AS key, old IS NOT NULL AS replaced
"""


def remove_edges(label: Label, relation: Relation) -> str:
    """Remove the edges that a part had. Rows: keys of its owners; `$part` is its aspect."""
    return f"""
UNWIND $rows AS key
MATCH (:{label} {_key(label, "key")})-[e:{relation}]->()
WHERE e.part = $part
DELETE e
"""


def remove_children(label: Label, relation: Relation) -> str:
    """Remove the nodes that belonged to a part. Rows: keys of its owners."""
    return f"""
UNWIND $rows AS key
MATCH (:{label} {_key(label, "key")})-[:{relation}]->(child)
DETACH DELETE child
"""


def add_children(owner: Label, relation: Relation, label: Label) -> str:
    """Nodes that belong to a part. Rows: owner, key, properties."""
    return f"""
UNWIND $rows AS row
MATCH (o:{owner} {_key(owner, "row.owner")})
MERGE (n:{label} {_key(label, "row.key")})
SET n += row.properties
MERGE (o)-[:{relation}]->(n)
"""


def add_edges(start: Label, relation: Relation, end: Label, identity: tuple[str, ...]) -> str:
    """Edges between nodes that are there. Rows: start, end, identity, properties."""
    told = ", ".join(f"{name}: row.identity.{name}" for name in identity)
    return f"""
UNWIND $rows AS row
MATCH (a:{start} {_key(start, "row.start")})
MATCH (b:{end} {_key(end, "row.end")})
MERGE (a)-[e:{relation}{f" {{{told}}}" if told else ""}]->(b)
SET e += row.properties
"""


def _key(label: Label, source: str) -> str:
    return "{" + ", ".join(f"{name}: {source}[{index}]" for index, name in enumerate(KEYS[label])) + "}"


def _least(name: str) -> str:
    return f"CASE WHEN n.{name} IS NULL OR row.{name} < n.{name} THEN row.{name} ELSE n.{name} END"


def _greatest(name: str) -> str:
    return f"CASE WHEN n.{name} IS NULL OR n.{name} < row.{name} THEN row.{name} ELSE n.{name} END"
