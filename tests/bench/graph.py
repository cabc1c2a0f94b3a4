"""The graph: events as records into Neo4j, against the same rows by `UNWIND … MERGE … SET +=` alone.

Ours parses, projects and writes: offsets under their locks, nodes whose newest word stands, their edges, the
position in PostgreSQL. The bare loop is given the finished rows of the same batches, nodes by label and edges
by type, sorted, and writes them one transaction a batch under the same constraints, whatever the graph holds.
Ours needs longer for its nodes, whose older words it reads, and less for its edges: it has the ids of their
ends, and creates what cannot be there yet, where the bare loop looks up both ends and the edge by their keys.
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
from tests.support.histories import histories
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

Group = tuple[str, list[dict[str, Any]]]
"""A statement and its rows."""


def measure(bench: Bench) -> list[Figure]:
    """Events a second."""
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
    """The service's way from records to the graph."""
    events = histories(SEED, files)
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
        whole = combine(map(project, events))
        held = {*whole.nodes, *(part.owner for part in whole.facets.values())}
        held |= {child.ref for part in whole.facets.values() for child in part.children}
        nodes, edges = await context.graph.size()
        assert nodes == len(held), f"{nodes} nodes instead of {len(held)}"
        return _answer(stack, clock, server, events=len(events) - SKIP, rows=nodes + edges)


async def bare(stack: Stack, *, files: int) -> dict[str, float | None]:
    """The driver alone."""
    events = histories(SEED, files)
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
        return _answer(stack, clock, server, events=len(events) - SKIP, rows=nodes + edges)


async def _write(transaction: AsyncManagedTransaction, groups: Sequence[Group]) -> None:
    for statement, rows in groups:
        await (await transaction.run(statement, rows=rows)).consume()


def finished_rows(events: Sequence[Envelope]) -> list[Group]:
    """What a batch leaves in an empty graph: each node and each edge once, with all its properties."""
    changes = combine(map(project, events))
    nodes = _nodes(changes)
    groups = []
    for label in sorted(nodes):
        rows = [{"key": list(key), "properties": told} for key, told in sorted(nodes[label].items())]
        merge = f"MERGE (n:{label} {_key(label, 'key')})"
        groups.append((f"UNWIND $rows AS row {merge} SET n += row.properties", rows))
    edges: dict[tuple[Any, ...], dict[Edge, dict[str, Any]]] = defaultdict(dict)
    for edge, told in _edges(changes).items():
        identity = tuple(name for name, _ in edge.identity)
        edges[edge.start.label, edge.relation, edge.end.label, identity][edge] = {
            "start": list(edge.start.key),
            "end": list(edge.end.key),
            "identity": dict(edge.identity),
            "properties": told,
        }
    for start, relation, end, identity in sorted(edges):
        told_by = ", ".join(f"{name}: row.identity.{name}" for name in identity)
        statement = (
            f"UNWIND $rows AS row "
            f"MATCH (a:{start} {_key(start, 'start')}) MATCH (b:{end} {_key(end, 'end')}) "
            f"MERGE (a)-[e:{relation} {{{told_by}}}]->(b) SET e += row.properties"
        )
        rows = list(edges[start, relation, end, identity].values())
        groups.append((statement, sorted(rows, key=lambda row: (row["end"], row["start"]))))
    return groups


def _nodes(changes: Changes) -> dict[Label, dict[tuple[str, ...], dict[str, Any]]]:
    found: dict[Label, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))

    def tell(ref: Ref, told: Mapping[str, Any]) -> None:
        found[ref.label][ref.key] |= {name: value for name, value in told.items() if value is not None}

    for node in changes.nodes.values():
        times = {"created_at": node.created_at, "confidence": node.confidence}
        tell(node.ref, {**node.properties, **times, "release_date": node.release_date})
    for part in changes.facets.values():
        times = {"created_at": part.created_at, "updated_at": part.updated_at}
        tell(part.owner, {**part.properties, **times, f"{part.aspect}_order": part.order})
        for child in part.children:
            tell(child.ref, {**child.properties, "created_at": child.created_at})
    return found


def _edges(changes: Changes) -> dict[Edge, dict[str, Any]]:
    every = list(changes.links)
    for part in changes.facets.values():
        every += part.edges
        for child in part.children:
            every += [Edge(part.owner, child.relation, child.ref), *child.edges]
    found = {}
    for edge in every:
        found[edge] = dict(edge.properties) | ({"created_at": edge.created_at} if edge.created_at else {})
    for said in changes.sightings.values():
        edge = Edge(said.location, "LOCATION_OF", said.recording)  # type: ignore[arg-type]  # only here
        found[edge] = {**said.properties, "order": said.order}
    return found


def _key(label: Label, of: str) -> str:
    return "{" + ", ".join(f"{name}: row.{of}[{index}]" for index, name in enumerate(KEYS[label])) + "}"


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


def _answer(
    stack: Stack, clock: Clock, server_before_s: float | None, *, events: int, rows: int
) -> dict[str, float | None]:
    server_s = _server_cpu_s(stack)
    together = None
    if server_s is not None and server_before_s is not None:
        together = (clock.cpu_seconds + server_s - server_before_s) / events * 1e6
    return {**clock.speed(events), "rows_per_s": rows / clock.seconds, "all_cpu_us": together}


def _server_cpu_s(stack: Stack) -> float | None:
    """Processor time that Neo4j has taken so far; unknown where it is not ours."""
    pids = [
        process.pid for process in stack.project.stack.status() if process.name == "neo4j" and process.pid
    ]
    if not pids:
        return None
    fields = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
