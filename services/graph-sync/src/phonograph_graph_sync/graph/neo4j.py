"""Writes changes into Neo4j: a batch is one transaction, its Kafka offsets with it."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import structlog
from neo4j import AsyncDriver, AsyncManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from phonograph_graph_sync import metrics
from phonograph_graph_sync.constants import CONSUMER
from phonograph_graph_sync.domain.graph import (
    PART_CHILDREN,
    PART_EDGES,
    Aspect,
    Changes,
    Edge,
    Label,
    Node,
    Part,
    Sighting,
    combined,
)
from phonograph_graph_sync.domain.position import Partition, Projected, Written
from phonograph_graph_sync.exceptions import RefusedByGraphError, TooLargeForGraphError
from phonograph_graph_sync.graph import statements
from phonograph_graph_sync.graph.schema import ensure_schema
from phonograph_runtime.database import UnavailableError

_log = structlog.get_logger()


class Neo4jGraph:
    """See `GraphWriter` and `GraphEraser` in `phonograph_graph_sync.domain.ports`."""

    def __init__(self, driver: AsyncDriver, *, rebuilds: bool = False) -> None:
        """Use a driver.

        Args:
            driver: connections to the graph.
            rebuilds: whether this is the writer that others wait for during a rebuild.
        """
        self._driver = driver
        self._rebuilds = rebuilds

    async def prepare(self) -> dict[Partition, int]:
        """See `GraphWriter`."""
        async with _converted():
            await ensure_schema(self._driver)
            found = await self._driver.execute_query(statements.READ_OFFSETS, consumer=CONSUMER)
            return {_partition(row): row["offset"] for row in found.records}

    async def write(self, batch: Sequence[Projected]) -> Written:
        """See `GraphWriter`.

        Raises:
            UnavailableError: Neo4j cannot be reached, or a rebuild is going on.
            RefusedByGraphError: trying again will not help.
            TooLargeForGraphError: it needs more memory than a transaction may have.
        """
        attempts = _Attempts(batch, rebuilds=self._rebuilds)
        started = time.perf_counter()
        async with _converted(), self._driver.session() as session:
            written = await session.execute_write(attempts.run)
        metrics.TX_SECONDS.observe(time.perf_counter() - started)
        for kind, count in attempts.counts.items():
            metrics.ROWS.labels(kind).inc(count)
        return written

    async def begin(self, partitions: Sequence[Partition]) -> None:
        """See `GraphEraser`.

        The mark is committed first. A writer takes the locks of its offsets before it looks for the mark,
        so once all offsets have been locked here nobody can still be at work without having seen it.
        """
        async with _converted():
            await ensure_schema(self._driver)
            await self._driver.execute_query(statements.BEGIN_REBUILD)
            await self._driver.execute_query(
                statements.RESET_OFFSETS, rows=[_place(partition) for partition in sorted(partitions)],
                consumer=CONSUMER,
            )  # fmt: skip

    async def wipe(self) -> None:
        """See `GraphEraser`."""
        async with _converted(), self._driver.session() as session:
            await (await session.run(statements.WIPE)).consume()

    async def end(self) -> None:
        """See `GraphEraser`."""
        async with _converted():
            await self._driver.execute_query(statements.END_REBUILD)

    async def size(self) -> tuple[int, int]:
        """See `GraphEraser`."""
        async with _converted():
            found = await self._driver.execute_query(statements.SIZE)
        return found.records[0]["nodes"], found.records[0]["edges"]

    async def aclose(self) -> None:
        """Close every connection."""
        await self._driver.close()


class _Attempts:
    """One batch, tried until its transaction is committed: the driver may call `run` several times."""

    def __init__(self, batch: Sequence[Projected], *, rebuilds: bool) -> None:
        self._batch = batch
        self._rebuilds = rebuilds
        self._trouble: str | None = None
        self._tried = 0
        self.counts: dict[str, int] = {}

    async def run(self, transaction: AsyncManagedTransaction) -> Written:
        if self._tried:
            metrics.TX_RETRIES.labels(self._trouble or "commit").inc()
        self._tried += 1
        self._trouble = None
        try:
            return await self._write(transaction)
        except Neo4jError as error:
            self._trouble = error.code
            raise

    async def _write(self, transaction: AsyncManagedTransaction) -> Written:
        ends: dict[Partition, int] = defaultdict(lambda: -1)
        for event in self._batch:
            ends[event.partition] = max(ends[event.partition], event.offset)
        places = [_place(partition) for partition in sorted(ends)]
        await _run(transaction, statements.LOCK_OFFSETS, places, consumer=CONSUMER)
        if not self._rebuilds and await _run(transaction, statements.REBUILDING, []):
            raise UnavailableError(
                "The graph is being rebuilt. If no rebuild is running, one was interrupted: "
                "run `phonograph graph rebuild` again."
            )
        offsets = await _run(transaction, statements.READ_OFFSETS, [], consumer=CONSUMER)
        held = {_partition(row): row["offset"] for row in offsets}
        fresh = tuple(event.offset > held[event.partition] for event in self._batch)
        changes = combined(event.changes for event, new in zip(self._batch, fresh, strict=True) if new)
        ends = {partition: max(end, held[partition]) for partition, end in ends.items()}

        writer = _Writer(transaction)
        owners = {part.owner for part in changes.parts.values()}
        await writer.nodes(node for node in changes.nodes.values() if node.ref not in owners)
        stood = await writer.parts(_since_first_seen(part, changes) for part in changes.parts.values())
        await writer.children(stood)
        own = [edge for part in stood for edge in part.edges]
        own += [edge for part in stood for child in part.children for edge in child.edges]
        await writer.edges([*own, *changes.links.values()])
        await writer.sightings(changes.sightings.values())
        rows = [_place(partition) | {"offset": ends[partition]} for partition in sorted(ends)]
        await _run(transaction, statements.STORE_OFFSETS, rows, consumer=CONSUMER)
        self.counts = writer.counts
        return Written(fresh, ends)


class _Writer:
    """Groups changes by statement, sorts them by key and runs them: nodes first, then edges."""

    def __init__(self, transaction: AsyncManagedTransaction) -> None:
        self._transaction = transaction
        self.counts: dict[str, int] = defaultdict(int)

    async def nodes(self, nodes: Iterable[Node]) -> None:
        """Add shared nodes; improve the few that were known with a later time or a lower confidence."""
        groups: dict[Label, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(dict)
        for node in sorted(nodes, key=lambda node: node.ref.key):
            told = {
                **node.properties,
                "created_at": node.created_at,
                "confidence": node.confidence,
                "release_date": node.release_date,
            }
            groups[node.ref.label][node.ref.key] = {"key": list(node.ref.key), "properties": told}
        for label in Label:
            group = groups.get(label, {})
            found = await self._run("nodes", statements.add_nodes(label), list(group.values()))
            rows = [group[tuple(row["key"])] for row in found]
            if rows:
                await _run(self._transaction, statements.lock_nodes(label), rows)
                await _run(self._transaction, statements.improve_nodes(label), rows)

    async def parts(self, parts: Iterable[Part]) -> list[Part]:
        """Write parts; give those that are newer than what was there."""
        groups: dict[Label, dict[tuple[str, ...], list[Part]]] = defaultdict(lambda: defaultdict(list))
        for part in sorted(parts, key=lambda part: part.owner.key):
            groups[part.owner.label][part.owner.key].append(part)
        stood: list[Part] = []
        known: dict[tuple[Label, Aspect], list[Part]] = defaultdict(list)
        for label in Label:
            owners = groups.get(label, {})
            rows = [{"key": list(key), "properties": _as_new(said)} for key, said in owners.items()]
            made = {tuple(row["key"]) for row in await self._run("nodes", statements.lock_nodes(label), rows)}
            for key, said in owners.items():
                if key in made:
                    stood += said
                    continue
                for part in said:
                    known[label, part.aspect].append(part)
        for label, aspect in sorted(known):
            stood += await self._claim(label, aspect, known[label, aspect])
        return stood

    async def _claim(self, label: Label, aspect: Aspect, parts: Sequence[Part]) -> list[Part]:
        by_key = {part.owner.key: part for part in parts}
        rows = [
            {
                "key": list(part.owner.key),
                "order": part.order,
                "created_at": part.created_at,
                "updated_at": part.updated_at,
                "properties": part.properties,
            }
            for part in parts
        ]
        won = await self._run("parts", statements.claim_parts(label, aspect), rows)
        await self._remove(label, aspect, [row["key"] for row in won if row["replaced"]])
        return [by_key[tuple(row["key"])] for row in won]

    async def _remove(self, label: Label, aspect: Aspect, keys: list[list[str]]) -> None:
        if not keys:
            return
        for relation in PART_EDGES.get(aspect, ()):
            await _run(self._transaction, statements.remove_edges(label, relation), keys, part=aspect.value)
        for relation in PART_CHILDREN.get(aspect, ()):
            await _run(self._transaction, statements.remove_children(label, relation), keys)

    async def children(self, parts: Iterable[Part]) -> None:
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for part in parts:
            for child in part.children:
                groups[part.owner.label, child.relation, child.ref.label].append(
                    {
                        "owner": list(part.owner.key),
                        "key": list(child.ref.key),
                        "properties": child.properties,
                    }
                )
        for owner, relation, label in sorted(groups):
            rows = sorted(groups[owner, relation, label], key=lambda row: row["key"])
            statement = statements.add_children(owner, relation, label)  # type: ignore[arg-type]  # see groups
            await self._run("nodes", statement, rows)

    async def edges(self, edges: Iterable[Edge]) -> None:
        """Sorted by their ends: those are the nodes that several writers share, and MERGE locks them."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for edge in edges:
            names = tuple(name for name, _ in edge.identity)
            groups[edge.start.label, edge.relation, edge.end.label, names].append(
                {
                    "start": list(edge.start.key),
                    "end": list(edge.end.key),
                    "identity": dict(edge.identity),
                    "properties": edge.properties,
                }
            )
        for group in sorted(groups):
            rows = sorted(groups[group], key=lambda row: (row["end"], row["start"]))
            await self._run("edges", statements.add_edges(*group), rows)

    async def sightings(self, sightings: Iterable[Sighting]) -> None:
        rows = [
            {
                "location": list(sighting.location.key),
                "recording": list(sighting.recording.key),
                "order": sighting.order,
                "properties": sighting.properties,
            }
            for sighting in sorted(sightings, key=lambda each: (each.location.key, each.recording.key))
        ]
        await self._run("edges", statements.LOCK_SIGHTINGS, rows)
        await self._run("parts", statements.SIGHTINGS, rows)

    async def _run(self, kind: str, statement: str, rows: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        if not rows:
            return []
        self.counts[kind] += len(rows)
        return await _run(self._transaction, statement, rows)


async def _run(
    transaction: AsyncManagedTransaction, statement: str, rows: Sequence[Any], **parameters: Any
) -> list[Mapping[str, Any]]:
    result = await transaction.run(statement, rows=rows, **parameters)
    return cast(list[Mapping[str, Any]], [record async for record in result])


def _as_new(parts: Sequence[Part]) -> dict[str, Any]:
    """All properties of a node of which the graph knows nothing yet."""
    told: dict[str, Any] = {}
    for part in parts:
        told |= {**part.properties, f"{part.aspect}_order": part.order}
    told["created_at"] = min(part.created_at for part in parts)
    told["updated_at"] = max(part.updated_at for part in parts)
    return {name: value for name, value in told.items() if value is not None}


def _since_first_seen(part: Part, changes: Changes) -> Part:
    """The part's statement also makes its owner, so it takes the time over that the stub would have had."""
    stub = changes.nodes.get(part.owner)
    return part if stub is None else replace(part, created_at=min(part.created_at, stub.created_at))


def _place(partition: Partition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.number}


def _partition(row: Mapping[str, Any]) -> Partition:
    return Partition(row["topic"], row["partition"])


@asynccontextmanager
async def _converted() -> AsyncIterator[None]:
    """Driver's errors as ours: what the server refuses for good, what is too large, and the rest is away."""
    try:
        yield
    except Neo4jError as error:
        if _is_out_of_memory(error):
            raise TooLargeForGraphError(
                f"Neo4j has no memory for the transaction: {error.message}"
            ) from error
        if _is_refusal(error):
            raise RefusedByGraphError(f"Neo4j refused it ({error.code}): {error.message}") from error
        raise UnavailableError(f"Neo4j: {error.code}: {error.message}") from error
    except (DriverError, OSError) as error:
        raise UnavailableError(f"Neo4j cannot be reached: {' '.join(str(error).split())}") from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise RefusedByGraphError(f"Neo4j has no such value: {error}") from error


def _is_out_of_memory(error: Neo4jError) -> bool:
    return "OutOfMemory" in (error.code or "") or "TransactionMemoryLimit" in (error.code or "")


def _is_refusal(error: Neo4jError) -> bool:
    """Whether the statement or a value is at fault; a full disk or a wrong password may pass."""
    code = error.code or ""
    too_large = code == "Neo.DatabaseError.Statement.ExecutionFailed" and "too large" in (error.message or "")
    return too_large or code.startswith(("Neo.ClientError.Statement.", "Neo.ClientError.Schema."))
