"""Writes changes into Neo4j: a batch is one transaction, its Kafka offsets with it."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, Record
from neo4j.exceptions import DriverError, Neo4jError

from phonograph_graph_sync import metrics
from phonograph_graph_sync.constants import CONSUMER
from phonograph_graph_sync.domain.graph import (
    PART_CHILDREN,
    PART_EDGES,
    SHARED,
    Aspect,
    Changes,
    Child,
    Edge,
    Label,
    Node,
    Part,
    Ref,
    Sighting,
    combined,
)
from phonograph_graph_sync.domain.position import Partition, Projected, Written
from phonograph_graph_sync.exceptions import RefusedByGraphError, TooLargeForGraphError
from phonograph_graph_sync.graph import statements
from phonograph_graph_sync.graph.schema import ensure_schema
from phonograph_runtime.errors import UnavailableError

RETRY_S: Final = 5.0
CONNECT_S: Final = 5.0
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def connect(uri: str, auth: tuple[str, str] | None) -> AsyncDriver:
    """Connections to Neo4j; none is opened before it is needed."""
    return AsyncGraphDatabase.driver(
        uri,
        auth=auth,
        connection_timeout=CONNECT_S,
        connection_acquisition_timeout=RETRY_S,
        max_transaction_retry_time=RETRY_S,
        notifications_min_severity="OFF",
    )


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

    async def stubs(self) -> int:
        """Nodes whose own event has not come; read from counters and indexes."""
        async with _converted():
            found = await self._driver.execute_query(statements.STUBS)
        return int(found.records[0]["stubs"])

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
            metrics.TX_RETRIES.labels(self._trouble or metrics.RETRIED[0]).inc()
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
        found = await _run(transaction, statements.READ_OFFSETS, [], consumer=CONSUMER)
        if not self._rebuilds and any(row["rebuilding"] for row in found):
            raise UnavailableError(
                "The graph is being rebuilt. If no rebuild is running, one was interrupted: "
                "run `phonograph graph rebuild` again.",
                server="Neo4j",
            )
        held = {_partition(row): row["offset"] for row in found}
        fresh = tuple(event.offset > held[event.partition] for event in self._batch)
        changes = combined(event.changes for event, new in zip(self._batch, fresh, strict=True) if new)
        ends = {partition: max(end, held[partition]) for partition, end in ends.items()}

        writer = _Writer(transaction)
        await writer.write(changes)
        rows = [_place(partition) | {"offset": ends[partition]} for partition in sorted(ends)]
        await _run(transaction, statements.STORE_OFFSETS, rows, consumer=CONSUMER)
        self.counts = writer.counts
        return Written(fresh, ends)


class _Writer:
    """Groups changes by statement, sorts them by key and runs them: nodes first, then edges."""

    def __init__(self, transaction: AsyncManagedTransaction) -> None:
        self._transaction = transaction
        self._ids: dict[Ref, int] = {}
        self._made: set[Ref] = set()
        self.counts: dict[str, int] = dict.fromkeys(metrics.KINDS, 0)

    async def write(self, changes: Changes) -> None:
        """Everything that several events say."""
        stood = await self._nodes(changes)
        children = {child.ref: child for part in stood for child in part.children}
        await self._children(list(children.values()))
        own = [Edge(part.owner, child.relation, child.ref) for part in stood for child in part.children]
        own += [edge for part in stood for edge in part.edges]
        kept = [edge for child in children.values() for edge in child.edges]
        await self._edges(own, [*kept, *changes.links])
        await self._sightings(changes.sightings.values())

    async def _nodes(self, changes: Changes) -> list[Part]:
        """Nodes in the order of their labels; gives the parts that are newer than what was there."""
        nodes: dict[Label, dict[Ref, Node]] = defaultdict(dict)
        parts: dict[Label, dict[Ref, dict[Aspect, Part]]] = defaultdict(lambda: defaultdict(dict))
        for node in changes.nodes.values():
            nodes[node.ref.label][node.ref] = node
        for part in changes.parts.values():
            parts[part.owner.label][part.owner][part.aspect] = part
        stood: list[Part] = []
        for label in Label:
            if label in SHARED:
                await self._shared(label, nodes[label])
            else:
                stood += await self._told(label, nodes[label], parts[label])
        return stood

    async def _shared(self, label: Label, nodes: Mapping[Ref, Node]) -> None:
        refs = sorted(nodes, key=_by_key)
        rows = [
            [at, ref.key, *_epoch(nodes[ref].created_at), _told(nodes[ref])] for at, ref in enumerate(refs)
        ]
        await self._find("nodes", statements.shared_nodes(label), refs, rows)

    async def _told(
        self, label: Label, stubs: Mapping[Ref, Node], parts: Mapping[Ref, dict[Aspect, Part]]
    ) -> list[Part]:
        refs = sorted({*stubs, *parts}, key=_by_key)
        rows = []
        for at, ref in enumerate(refs):
            said = parts.get(ref, {}).values()
            created = [part.created_at for part in said]
            if ref in stubs:
                created.append(stubs[ref].created_at)
            updated = max((part.updated_at for part in said), default=None)
            told = [
                [order := f"{part.aspect}_order", {**part.properties, order: part.order}] for part in said
            ]
            rows.append([at, ref.key, *_epoch(min(created)), *_epoch(updated), told])
        stood: list[Part] = []
        replaced: dict[Aspect, list[int]] = defaultdict(list)
        for at, node, _, names in await self._find("nodes", statements.told_nodes(label), refs, rows):
            for name, older in names:
                aspect = Aspect(name.removesuffix("_order"))
                stood.append(parts[refs[at]][aspect])
                if older:
                    replaced[aspect].append(node)
        self.counts["parts"] += sum(map(len, parts.values()))
        for aspect in sorted(replaced):
            if aspect in PART_EDGES:
                await _run(self._transaction, statements.remove_edges(aspect), replaced[aspect])
            if aspect in PART_CHILDREN:
                await _run(self._transaction, statements.remove_children(aspect), replaced[aspect])
        return stood

    async def _children(self, children: Sequence[Child]) -> None:
        groups: dict[Label, dict[Ref, Child]] = defaultdict(dict)
        for child in children:
            groups[child.ref.label][child.ref] = child
        for label in sorted(groups):
            refs = sorted(groups[label], key=_by_key)
            rows = [
                [at, ref.key, *_epoch(groups[label][ref].created_at), groups[label][ref].properties]
                for at, ref in enumerate(refs)
            ]
            await self._find("nodes", statements.child_nodes(label), refs, rows)

    async def _edges(self, own: Iterable[Edge], kept: Iterable[Edge]) -> None:
        """Edges of parts that have just been emptied, and edges that may have been there before.

        An edge of a node that is new cannot be there yet either.
        """
        create, merge = list(own), defaultdict(list)
        for edge in kept:
            if edge.start in self._made or edge.end in self._made:
                create.append(edge)
            else:
                merge[edge.relation].append(edge)
        rows = []
        for edge in dict.fromkeys(create):
            told = {**edge.properties, **dict(edge.identity)}
            times = _epoch(edge.created_at)
            rows.append([self._ids[edge.start], self._ids[edge.end], edge.relation, told, *times])
        await self._send("edges", statements.CREATE_EDGES, sorted(rows, key=_by_ends))
        for relation in sorted(merge):
            ends = [[self._ids[edge.start], self._ids[edge.end]] for edge in dict.fromkeys(merge[relation])]
            await self._send("edges", statements.merge_edges(relation), sorted(ends, key=_by_ends))

    async def _sightings(self, sightings: Iterable[Sighting]) -> None:
        rows = [
            [self._ids[said.location], self._ids[said.recording], {**said.properties, "order": said.order}]
            for said in sightings
        ]
        await self._send("edges", statements.SIGHTINGS, sorted(rows, key=_by_ends))

    async def _find(
        self, kind: str, statement: str, refs: Sequence[Ref], rows: Sequence[list[Any]]
    ) -> Sequence[Sequence[Any]]:
        """Run a statement that gives the ids of its rows' nodes."""
        if not rows:
            return []
        ((found,),) = await self._send(kind, statement, rows)
        for at, node, made, *_ in found:
            self._ids[refs[at]] = node
            if made:
                self._made.add(refs[at])
        return cast(Sequence[Sequence[Any]], found)

    async def _send(self, kind: str, statement: str, rows: Sequence[list[Any]]) -> Sequence[Record]:
        if not rows:
            return []
        self.counts[kind] += len(rows)
        return await _run(self._transaction, statement, rows)


async def _run(
    transaction: AsyncManagedTransaction, statement: str, rows: Sequence[Any], **parameters: Any
) -> list[Record]:
    result = await transaction.run(statement, rows=rows, **parameters)
    return [record async for record in result]


def _by_key(ref: Ref) -> tuple[str, ...]:
    return ref.key


def _by_ends(row: Sequence[Any]) -> tuple[int, int]:
    """The ends are the nodes that several writers share, and edges lock them."""
    return row[1], row[0]


def _told(node: Node) -> dict[str, Any]:
    return {**node.properties, "confidence": node.confidence, "release_date": node.release_date}


def _epoch(time: datetime | None) -> tuple[int | None, int | None]:
    """Seconds and nanoseconds since 1970."""
    if time is None:
        return None, None
    past = time - EPOCH
    return past.days * 86_400 + past.seconds, past.microseconds * 1000


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
        raise UnavailableError(f"{error.code}: {error.message}", server="Neo4j") from error
    except (DriverError, OSError) as error:
        raise UnavailableError(" ".join(str(error).split()), server="Neo4j") from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise RefusedByGraphError(f"Neo4j has no such value: {error}") from error


def _is_out_of_memory(error: Neo4jError) -> bool:
    return "OutOfMemory" in (error.code or "") or "TransactionMemoryLimit" in (error.code or "")


def _is_refusal(error: Neo4jError) -> bool:
    """Whether the statement or a value is at fault; a full disk or a wrong password may pass."""
    code = error.code or ""
    too_large = code == "Neo.DatabaseError.Statement.ExecutionFailed" and "too large" in (error.message or "")
    return too_large or code.startswith(("Neo.ClientError.Statement.", "Neo.ClientError.Schema."))
