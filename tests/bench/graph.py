"""The graph: records of events into Neo4j, compared with the same rows by `UNWIND … MERGE … SET +=` alone.

The service parses, projects and writes: offsets under their locks, the newest version of each node, the
edges, and the position in PostgreSQL. The bare loop receives the finished rows of the same batches, nodes by
label and edges by type, sorted, and writes them in one transaction per batch under the same constraints,
without regard to the content of the graph. The service takes longer for nodes, since it reads their older
versions, and less for edges: it has the ids of both ends and creates edges that cannot exist yet, where the
bare loop looks up both ends and the edge by their keys.
"""

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from neo4j import AsyncManagedTransaction
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.bench.side import Clock
from tests.support.histories import generate_events
from tests.support.scratch import delivered
from tests.support.stack import Stack

from phonograph_events import Envelope, Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.domain.graph import KEYS, Changes, Edge, Label, Ref, combine
from phonograph_graph_sync.domain.projection import project
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink
from phonograph_runtime.consumer import EventConsumer

BATCH = 500
SEED = 4
SKIP = 1
"""The first event opens the connections and is not measured."""

StatementRows = tuple[str, list[dict[str, Any]]]
"""A statement and its rows."""


def measure(bench: Bench) -> list[Figure]:
    """Measure the events per second."""
    files = bench.number("GRAPH_FILES", 300)
    rounds = bench.compare(__name__, "ours", "bare", files=files)
    figures = [
        Figure(
            "graph",
            "graph, one process",
            rounds.median("ours", "per_s") or 0,
            "events/s",
            rounds.median("bare", "per_s"),
            "UNWIND, MERGE, SET of the finished rows",
            Goal("ratio", at_least=0.7),
            rounds.median("base", "per_s"),
            rounds.spread("per_s"),
        ),
        Figure("graph_rows", "graph, rows in it", rounds.median("ours", "rows_per_s") or 0, "rows/s",
               rounds.median("bare", "rows_per_s"), "the same"),
    ]  # fmt: skip
    if rounds.median("ours", "all_cpu_us") is not None:
        figures.append(
            Figure(
                "graph_cpu",
                "graph, processor time with Neo4j's",
                rounds.median("ours", "all_cpu_us") or 0,
                "µs/event",
                rounds.median("bare", "all_cpu_us"),
                "the same",
                base=rounds.median("base", "all_cpu_us"),
            )
        )
    return figures


async def ours(stack: Stack, *, files: int) -> dict[str, float | None]:
    """Write the events of `files` files as the service does."""
    events = generate_events(SEED, files)
    async with _empty_graph(stack) as context:
        consumer = EventConsumer(context.database, GraphSink(context))
        offsets: Counter[str] = Counter()
        records = []
        for event in events:
            record = event.to_record()
            records.append(delivered(record, offsets[record.topic]))
            offsets[record.topic] += 1
        await consumer.consume(records[:SKIP])
        clock, server = Clock(), _server_cpu_s(stack)
        with clock.running():
            for first in range(SKIP, len(records), BATCH):
                await consumer.consume(records[first : first + BATCH])
        changes = combine(map(project, events))
        expected = {*changes.nodes, *(facet.owner for facet in changes.facets.values())}
        expected |= {child.ref for facet in changes.facets.values() for child in facet.children}
        nodes, edges = await context.graph.size()
        assert nodes == len(expected), f"{nodes} nodes instead of {len(expected)}"
        return _result(stack, clock, server, events=len(events) - SKIP, rows=nodes + edges)


async def bare(stack: Stack, *, files: int) -> dict[str, float | None]:
    """Write the finished rows of the same events by the driver alone."""
    events = generate_events(SEED, files)
    batches = [finished_rows(events[:SKIP])]
    batches += [finished_rows(events[at : at + BATCH]) for at in range(SKIP, len(events), BATCH)]
    async with _empty_graph(stack) as context, context.graph._driver.session() as session:
        await session.execute_write(_write, batches[0])
        clock, server = Clock(), _server_cpu_s(stack)
        with clock.running():
            for groups in batches[1:]:
                await session.execute_write(_write, groups)
        nodes, edges = await context.graph.size()
        groups = [group for batch in batches for group in batch]
        keys = {(statement, *row["key"]) for statement, rows in groups for row in rows if "key" in row}
        assert nodes == len(keys), f"{nodes} nodes instead of {len(keys)}"
        return _result(stack, clock, server, events=len(events) - SKIP, rows=nodes + edges)


async def _write(transaction: AsyncManagedTransaction, groups: Sequence[StatementRows]) -> None:
    for statement, rows in groups:
        await (await transaction.run(statement, rows=rows)).consume()


def finished_rows(events: Sequence[Envelope]) -> list[StatementRows]:
    """Return what a batch adds to an empty graph: each node and edge once, with all its properties."""
    changes = combine(map(project, events))
    nodes = _nodes(changes)
    groups = []
    for label in sorted(nodes):
        rows = [{"key": list(key), "properties": values} for key, values in sorted(nodes[label].items())]
        merge = f"MERGE (n:{label} {_key(label, 'key')})"
        groups.append((f"UNWIND $rows AS row {merge} SET n += row.properties", rows))
    edges: dict[tuple[Any, ...], dict[Edge, dict[str, Any]]] = defaultdict(dict)
    for edge, properties in _edges(changes).items():
        identity = tuple(name for name, _ in edge.identity)
        edges[edge.start.label, edge.relation, edge.end.label, identity][edge] = {
            "start": list(edge.start.key),
            "end": list(edge.end.key),
            "identity": dict(edge.identity),
            "properties": properties,
        }
    for start, relation, end, identity in sorted(edges):
        pattern = ", ".join(f"{name}: row.identity.{name}" for name in identity)
        statement = (
            f"UNWIND $rows AS row "
            f"MATCH (a:{start} {_key(start, 'start')}) MATCH (b:{end} {_key(end, 'end')}) "
            f"MERGE (a)-[e:{relation} {{{pattern}}}]->(b) SET e += row.properties"
        )
        rows = list(edges[start, relation, end, identity].values())
        groups.append((statement, sorted(rows, key=lambda row: (row["end"], row["start"]))))
    return groups


def _nodes(changes: Changes) -> dict[Label, dict[tuple[str, ...], dict[str, Any]]]:
    nodes: dict[Label, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))

    def add(ref: Ref, properties: Mapping[str, Any]) -> None:
        nodes[ref.label][ref.key] |= {name: value for name, value in properties.items() if value is not None}

    for node in changes.nodes.values():
        times = {"created_at": node.created_at, "confidence": node.confidence}
        add(node.ref, {**node.properties, **times, "release_date": node.release_date})
    for facet in changes.facets.values():
        times = {"created_at": facet.created_at, "updated_at": facet.updated_at}
        add(facet.owner, {**facet.properties, **times, f"{facet.aspect}_order": facet.order})
        for child in facet.children:
            add(child.ref, {**child.properties, "created_at": child.created_at})
    return nodes


def _edges(changes: Changes) -> dict[Edge, dict[str, Any]]:
    all_edges = list(changes.links)
    for facet in changes.facets.values():
        all_edges += facet.edges
        for child in facet.children:
            all_edges += [Edge(facet.owner, child.relation, child.ref), *child.edges]
    edges = {}
    for edge in all_edges:
        edges[edge] = dict(edge.properties) | ({"created_at": edge.created_at} if edge.created_at else {})
    for sighting in changes.sightings.values():
        edge = Edge(sighting.location, "LOCATION_OF", sighting.recording)
        edges[edge] = {**sighting.properties, "order": sighting.order}
    return edges


def _key(label: Label, column: str) -> str:
    return "{" + ", ".join(f"{name}: row.{column}[{index}]" for index, name in enumerate(KEYS[label])) + "}"


@asynccontextmanager
async def _empty_graph(stack: Stack) -> AsyncIterator[ProcessContext]:
    addresses = stack.addresses
    settings = Settings(
        **stack.settings(Service.GRAPH_SYNC, Path(gettempdir())),
        neo4j_uri=addresses.neo4j_uri,
        neo4j_user=addresses.neo4j_user,
        neo4j_password=addresses.neo4j_password,
    )
    context = ProcessContext.create(settings)
    try:
        await context.graph.prepare()
        await context.graph.wipe()
        await context.graph._driver.execute_query("MATCH (k:KafkaOffset) DELETE k")
        await context.clear_offsets()
        yield context
        await context.graph.wipe()
        await context.graph._driver.execute_query("MATCH (k:KafkaOffset) DELETE k")
        await context.clear_offsets()
    finally:
        await context.aclose()


def _result(
    stack: Stack, clock: Clock, server_before_s: float | None, *, events: int, rows: int
) -> dict[str, float | None]:
    server_s = _server_cpu_s(stack)
    all_cpu_us = None
    if server_s is not None and server_before_s is not None:
        all_cpu_us = (clock.cpu_seconds + server_s - server_before_s) / events * 1e6
    return {**clock.speed(events), "rows_per_s": rows / clock.seconds, "all_cpu_us": all_cpu_us}


def _server_cpu_s(stack: Stack) -> float | None:
    """Return the processor time of Neo4j so far; None if its process is not visible."""
    pids = [
        process.pid for process in stack.project.stack.status() if process.name == "neo4j" and process.pid
    ]
    if not pids:
        return None
    fields = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
