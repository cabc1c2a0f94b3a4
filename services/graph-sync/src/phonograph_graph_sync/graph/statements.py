"""The Cypher that writes changes: one statement for each shape of row, each row once, sorted by key.

Labels, types and property names come from the enumerations of the domain, values always as parameters.

Neo4j reads what is committed, and MERGE of a known node takes no lock: two writers could both find
themselves newer. So whatever is compared is locked first (`_lock`), by a statement of its own: within one
statement the planner may read a property before the lock is taken and use that value after it.
"""

from typing import Final

from phonograph_graph_sync.domain.graph import KEYS, Aspect, Label, Relation

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
LOCK_SIGHTINGS: Final = """
UNWIND $rows AS row
MATCH (l:Location {uri: row.location[0]})
MATCH (r:Recording {id: row.recording[0]})
MERGE (l)-[e:LOCATION_OF]->(r)
ON MATCH SET e._lock = true
REMOVE e._lock
"""
SIGHTINGS: Final = """
UNWIND $rows AS row
MATCH (:Location {uri: row.location[0]})-[e:LOCATION_OF]->(:Recording {id: row.recording[0]})
WHERE e.order IS NULL OR e.order < row.order
SET e = row.properties, e.order = row.order
"""


def add_nodes(label: Label) -> str:
    """Shared nodes and stubs. Rows: key, properties with the extremes. Gives the keys of those to improve."""
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row.key")})
ON CREATE SET n += row.properties
WITH n, row, row.properties AS told
WHERE told.created_at < n.created_at
    OR told.confidence > coalesce(n.confidence, -1)
    OR told.release_date < coalesce(n.release_date, told.release_date + '~')
RETURN row.key AS key
"""


def improve_nodes(label: Label) -> str:
    """Keep the extremes of shared nodes. Rows: as `add_nodes`; the nodes are there and locked."""
    return f"""
UNWIND $rows AS row
MATCH (n:{label} {_key(label, "row.key")})
WITH n, row.properties AS row
SET n.created_at = {_least("created_at")}
SET n.confidence = {_greatest("confidence")}
SET n.release_date = {_least("release_date")}
"""


def lock_nodes(label: Label) -> str:
    """Lock nodes, make those that are missing. Rows: key, properties if new. Gives the new keys."""
    return f"""
UNWIND $rows AS row
MERGE (n:{label} {_key(label, "row.key")})
ON CREATE SET n += row.properties
ON MATCH SET n._lock = true
WITH n, row, n._lock IS NULL AS made
REMOVE n._lock
WITH row, made WHERE made
RETURN row.key AS key
"""


def claim_parts(label: Label, aspect: Aspect) -> str:
    """Parts that are newer than what the graph holds take its place; their owners are there and locked.

    Rows: key, order, times, properties. Gives the keys of those that did, and whether there was an older one.
    """
    order = f"n.{aspect}_order"
    return f"""
UNWIND $rows AS row
MATCH (n:{label} {_key(label, "row.key")})
WITH n, row, {order} AS old
SET n.created_at = {_least("created_at")}
SET n.updated_at = {_greatest("updated_at")}
WITH n, row, old WHERE old IS NULL OR old < row.order
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
