"""Writes changes to Neo4j: a batch is one transaction, which contains its Kafka offsets as well."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, Record
from neo4j.exceptions import DriverError, Neo4jError

from phonograph_graph_sync import metrics
from phonograph_graph_sync.constants import CONSUMER, SERVER
from phonograph_graph_sync.domain.batches import Partition, ProjectedEvent, WriteResult
from phonograph_graph_sync.domain.graph import (
    FACET_CHILDREN,
    FACET_EDGES,
    SHARED,
    Aspect,
    Changes,
    Child,
    Edge,
    Facet,
    Label,
    Node,
    Ref,
    Sighting,
    combine,
)
from phonograph_graph_sync.exceptions import RefusedByGraphError, TooLargeForGraphError
from phonograph_graph_sync.graph import statements
from phonograph_graph_sync.graph.schema import ensure_schema
from phonograph_runtime.errors import AccessRefusedError, UnavailableError
from phonograph_runtime.neo4j_access import describe_refusal, driver_options

RETRY_S: Final = 5.0
CONNECT_S: Final = 5.0
CHECK_S: Final = 3.0
"""Longest wait of a readiness probe, which itself is given up after 5 s."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def connect(uri: str, auth: tuple[str, str] | None, ca_file: Path | None = None) -> AsyncDriver:
    """Return a driver for Neo4j; nothing is connected before it is needed.

    Args:
        uri: Bolt address.
        auth: User and password.
        ca_file: Certificate authority as PEM; the authorities of the system if None.

    Raises:
        AccessRefusedError: If the address is wrong, or the authority cannot be read.
    """
    address, options = driver_options(uri, ca_file)
    return AsyncGraphDatabase.driver(
        address,
        auth=auth,
        connection_timeout=CONNECT_S,
        connection_acquisition_timeout=RETRY_S,
        max_transaction_retry_time=RETRY_S,
        notifications_min_severity="OFF",
        **options,
    )


class Neo4jGraph:
    """See `GraphWriter` and `GraphEraser` in `phonograph_graph_sync.domain.ports`."""

    def __init__(self, driver: AsyncDriver, *, is_rebuild: bool = False) -> None:
        """Use a driver.

        Args:
            driver: Connections to Neo4j.
            is_rebuild: Whether this process rebuilds the graph, which other writers wait for.
        """
        self._driver = driver
        self._is_rebuild = is_rebuild

    async def prepare(self) -> dict[Partition, int]:
        """See `GraphWriter.prepare`."""
        async with _convert_errors():
            await ensure_schema(self._driver)
            found = await self._driver.execute_query(statements.READ_OFFSETS, consumer=CONSUMER)
            return {_partition(row): row["offset"] for row in found.records}

    async def write(self, batch: Sequence[ProjectedEvent]) -> WriteResult:
        """See `GraphWriter.write`."""
        transaction = _BatchTransaction(batch, is_rebuild=self._is_rebuild)
        started = time.perf_counter()
        async with _convert_errors(), self._driver.session() as session:
            result = await session.execute_write(transaction.run)
        metrics.TX_SECONDS.observe(time.perf_counter() - started)
        for kind, count in transaction.row_counts.items():
            metrics.ROWS.labels(kind).inc(count)
        return result

    async def begin_rebuild(self, partitions: Sequence[Partition]) -> None:
        """See `GraphEraser.begin_rebuild`."""
        async with _convert_errors():
            await ensure_schema(self._driver)
            # The mark is committed before the offsets are locked. A writer locks its offsets first and looks
            # for the mark then: it either sees the mark, or holds a lock that the reset waits for. So no
            # writer that has not seen the mark is still at work when the reset is done.
            await self._driver.execute_query(statements.BEGIN_REBUILD)
            rows = [_offset_row(partition) for partition in sorted(partitions)]
            await self._driver.execute_query(statements.RESET_OFFSETS, rows=rows, consumer=CONSUMER)

    async def wipe(self) -> None:
        """See `GraphEraser.wipe`."""
        async with _convert_errors(), self._driver.session() as session:
            await (await session.run(statements.WIPE)).consume()

    async def end_rebuild(self) -> None:
        """See `GraphEraser.end_rebuild`."""
        async with _convert_errors():
            await self._driver.execute_query(statements.END_REBUILD)

    async def size(self) -> tuple[int, int]:
        """See `GraphEraser.size`."""
        async with _convert_errors():
            found = await self._driver.execute_query(statements.SIZE)
        return found.records[0]["nodes"], found.records[0]["edges"]

    async def count_stubs(self) -> int:
        """Return the number of nodes whose own event has not arrived; reads only counters and indexes."""
        async with _convert_errors():
            found = await self._driver.execute_query(statements.STUBS)
        return int(found.records[0]["stubs"])

    async def readiness_failure(self) -> str | None:
        """Return why Neo4j cannot be used; None if it answers."""
        try:
            async with asyncio.timeout(CHECK_S), _convert_errors(), self._driver.session() as session:
                await (await session.run("RETURN 1")).consume()
        except UnavailableError as error:
            return f"{SERVER} is unavailable: {error.message}"
        except TimeoutError:
            return f"{SERVER} does not answer within {CHECK_S:.0f} s"
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._driver.close()


class _BatchTransaction:
    """The transaction of one batch. The driver calls `run` again when Neo4j or the connection fails.

    The steps, and why each comes after the one before:

    1. Lock the offsets of all partitions of the batch, in their order. A second process with the same events
       waits here, and finds them in the graph afterwards.
    2. Read the offsets, which no other process can change under the locks, and the mark of a rebuild. A
       rebuild sets its mark before it waits for the same locks: one that is not seen here has to wait for
       this batch.
    3. Write the changes of the events above these offsets.
    4. Store the new offsets. They are part of the transaction: the graph has an event and its offset, or
       neither.
    """

    def __init__(self, batch: Sequence[ProjectedEvent], *, is_rebuild: bool) -> None:
        self._batch = batch
        self._is_rebuild = is_rebuild
        self._attempts = 0
        self._error_code: str | None = None
        self.row_counts: dict[str, int] = {}
        """Rows by kind, as the last attempt sent them."""

    async def run(self, transaction: AsyncManagedTransaction) -> WriteResult:
        """Write the batch in a transaction that the driver commits, or rolls back after an exception."""
        if self._attempts:
            metrics.TX_RETRIES.labels(self._error_code or metrics.LOST_CONNECTION).inc()
        self._attempts += 1
        self._error_code = None
        try:
            return await self._write(transaction)
        except Neo4jError as error:
            self._error_code = error.code
            raise

    async def _write(self, transaction: AsyncManagedTransaction) -> WriteResult:
        last: dict[Partition, int] = defaultdict(lambda: -1)
        for event in self._batch:
            last[event.partition] = max(last[event.partition], event.offset)
        partitions = sorted(last)

        rows = [_offset_row(partition) for partition in partitions]
        await _run(transaction, statements.LOCK_OFFSETS, rows, consumer=CONSUMER)

        found = await _run(transaction, statements.READ_OFFSETS, [], consumer=CONSUMER)
        if not self._is_rebuild and any(row["rebuilding"] for row in found):
            raise UnavailableError(
                "The graph is being rebuilt. If no rebuild is running, one was interrupted: "
                "run `phonograph graph rebuild` again.",
                server=SERVER,
            )
        stored = {_partition(row): row["offset"] for row in found}
        is_new = tuple(event.offset > stored[event.partition] for event in self._batch)
        changes = combine(event.changes for event, new in zip(self._batch, is_new, strict=True) if new)

        writer = _ChangeWriter(transaction)
        await writer.write(changes)

        # A redelivered batch may end below what the graph contains.
        offsets = {partition: max(last[partition], stored[partition]) for partition in partitions}
        rows = [_offset_row(partition) | {"offset": offsets[partition]} for partition in partitions]
        await _run(transaction, statements.STORE_OFFSETS, rows, consumer=CONSUMER)
        self.row_counts = writer.row_counts
        return WriteResult(is_new, offsets)


class _ChangeWriter:
    """Writes changes with one statement for each label and type, rows sorted by key.

    The steps, and why each comes after the one before:

    1. Nodes, label by label in the order of `Label`. Every writer locks nodes in this order, and those of a
       label by key, so that two writers with the same nodes wait for each other and seldom deadlock. Each
       statement returns the ids of its nodes and which facets were newer than those in the graph: these are
       applied, the others are ignored with all that belongs to them.
    2. After the nodes of a label, the edges and children of the facets that were replaced are deleted. Later,
       new ones would be deleted as well.
    3. Children of the applied facets: it is known now which those are, and the edges need the children's ids.
    4. Edges: all of their ends exist now, with ids. Edges of applied facets are created without looking for
       them, since step 2 has deleted the old ones.
    5. Sightings, which are edges that are compared first, like facets.
    """

    def __init__(self, transaction: AsyncManagedTransaction) -> None:
        self._transaction = transaction
        self._ids: dict[Ref, int] = {}
        self._new: set[Ref] = set()
        self.row_counts: dict[str, int] = dict.fromkeys(metrics.ROW_KINDS, 0)

    async def write(self, changes: Changes) -> None:
        """Write the changes of one event or of several."""
        applied = await self._write_nodes(changes)
        children = {child.ref: child for facet in applied for child in facet.children}
        await self._write_children(list(children.values()))
        replaced = [
            Edge(facet.owner, child.relation, child.ref) for facet in applied for child in facet.children
        ]
        replaced += [edge for facet in applied for edge in facet.edges]
        lasting = [edge for child in children.values() for edge in child.edges]
        await self._write_edges(replaced, [*lasting, *changes.links])
        await self._write_sightings(changes.sightings.values())

    async def _write_nodes(self, changes: Changes) -> list[Facet]:
        """Write nodes with their facets; return the facets that were applied."""
        nodes: dict[Label, dict[Ref, Node]] = defaultdict(dict)
        facets: dict[Label, dict[Ref, dict[Aspect, Facet]]] = defaultdict(lambda: defaultdict(dict))
        for node in changes.nodes.values():
            nodes[node.ref.label][node.ref] = node
        for facet in changes.facets.values():
            facets[facet.owner.label][facet.owner][facet.aspect] = facet
        applied: list[Facet] = []
        for label in Label:
            if label in SHARED:
                await self._write_shared_nodes(label, nodes[label])
            else:
                applied += await self._write_facet_nodes(label, nodes[label], facets[label])
        return applied

    async def _write_shared_nodes(self, label: Label, nodes: Mapping[Ref, Node]) -> None:
        refs = sorted(nodes, key=_by_key)
        rows = [
            [index, ref.key, *_epoch(nodes[ref].created_at), _node_properties(nodes[ref])]
            for index, ref in enumerate(refs)
        ]
        await self._merge_nodes(statements.shared_nodes(label), refs, rows)

    async def _write_facet_nodes(
        self, label: Label, stubs: Mapping[Ref, Node], facets: Mapping[Ref, dict[Aspect, Facet]]
    ) -> list[Facet]:
        """Write nodes of one label with their facets, and stubs; return the facets that were applied."""
        refs = sorted({*stubs, *facets}, key=_by_key)
        rows = []
        for index, ref in enumerate(refs):
            own = facets.get(ref, {}).values()
            created = [facet.created_at for facet in own]
            if ref in stubs:
                created.append(stubs[ref].created_at)
            updated = max((facet.updated_at for facet in own), default=None)
            facet_rows = [
                [order := f"{facet.aspect}_order", {**facet.properties, order: facet.order}] for facet in own
            ]
            rows.append([index, ref.key, *_epoch(min(created)), *_epoch(updated), facet_rows])
        applied: list[Facet] = []
        replaced_at: dict[Aspect, list[int]] = defaultdict(list)
        for index, node_id, _, orders in await self._merge_nodes(statements.facet_nodes(label), refs, rows):
            for order, has_replaced in orders:
                aspect = Aspect(order.removesuffix("_order"))
                applied.append(facets[refs[index]][aspect])
                if has_replaced:
                    replaced_at[aspect].append(node_id)
        self.row_counts["parts"] += sum(map(len, facets.values()))
        for aspect in sorted(replaced_at):
            if aspect in FACET_EDGES:
                await _run(self._transaction, statements.delete_facet_edges(aspect), replaced_at[aspect])
            if aspect in FACET_CHILDREN:
                await _run(self._transaction, statements.delete_facet_children(aspect), replaced_at[aspect])
        return applied

    async def _write_children(self, children: Sequence[Child]) -> None:
        by_label: dict[Label, dict[Ref, Child]] = defaultdict(dict)
        for child in children:
            by_label[child.ref.label][child.ref] = child
        for label in sorted(by_label):
            own = by_label[label]
            refs = sorted(own, key=_by_key)
            rows = [
                [index, ref.key, *_epoch(own[ref].created_at), own[ref].properties]
                for index, ref in enumerate(refs)
            ]
            await self._merge_nodes(statements.child_nodes(label), refs, rows)

    async def _write_edges(self, replaced: Iterable[Edge], lasting: Iterable[Edge]) -> None:
        """Write edges that were deleted before, if they existed, and edges that may exist."""
        create, merge = list(replaced), defaultdict(list)
        for edge in lasting:
            if edge.start in self._new or edge.end in self._new:
                create.append(edge)  # no edge of a new node exists: creating it saves the search
            else:
                merge[edge.relation].append(edge)
        rows = []
        for edge in dict.fromkeys(create):
            properties = {**edge.properties, **dict(edge.identity)}
            created = _epoch(edge.created_at)
            rows.append([self._ids[edge.start], self._ids[edge.end], edge.relation, properties, *created])
        await self._send("edges", statements.CREATE_EDGES, sorted(rows, key=_by_ends))
        for relation in sorted(merge):
            ends = [[self._ids[edge.start], self._ids[edge.end]] for edge in dict.fromkeys(merge[relation])]
            await self._send("edges", statements.merge_edges(relation), sorted(ends, key=_by_ends))

    async def _write_sightings(self, sightings: Iterable[Sighting]) -> None:
        rows = [
            [self._ids[each.location], self._ids[each.recording], {**each.properties, "order": each.order}]
            for each in sightings
        ]
        await self._send("edges", statements.SIGHTINGS, sorted(rows, key=_by_ends))

    async def _merge_nodes(
        self, statement: str, refs: Sequence[Ref], rows: Sequence[list[Any]]
    ) -> Sequence[Sequence[Any]]:
        """Run a statement for nodes, remember their ids, and return its result: a list for each node."""
        if not rows:
            return []
        ((found,),) = await self._send("nodes", statement, rows)
        for index, node_id, is_new, *_ in found:
            self._ids[refs[index]] = node_id
            if is_new:
                self._new.add(refs[index])
        return cast(Sequence[Sequence[Any]], found)

    async def _send(self, kind: str, statement: str, rows: Sequence[list[Any]]) -> Sequence[Record]:
        """Run a statement, unless it has no rows, and count the rows."""
        if not rows:
            return []
        self.row_counts[kind] += len(rows)
        return await _run(self._transaction, statement, rows)


async def _run(
    transaction: AsyncManagedTransaction, statement: str, rows: Sequence[Any], **parameters: Any
) -> list[Record]:
    result = await transaction.run(statement, rows=rows, **parameters)
    return [record async for record in result]


def _by_key(ref: Ref) -> tuple[str, ...]:
    return ref.key


def _by_ends(row: Sequence[Any]) -> tuple[int, int]:
    """Return the sort key of an edge: creating it locks its ends, and several writers share the second."""
    return row[1], row[0]


def _node_properties(node: Node) -> dict[str, Any]:
    return {**node.properties, "confidence": node.confidence, "release_date": node.release_date}


def _epoch(time: datetime | None) -> tuple[int | None, int | None]:
    """Return seconds and nanoseconds since 1970."""
    if time is None:
        return None, None
    past = time - EPOCH
    return past.days * 86_400 + past.seconds, past.microseconds * 1000


def _offset_row(partition: Partition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.number}


def _partition(row: Mapping[str, Any]) -> Partition:
    return Partition(row["topic"], row["partition"])


@asynccontextmanager
async def _convert_errors() -> AsyncIterator[None]:
    """Convert the driver's errors: refused for good, too large, and for the rest Neo4j is unavailable."""
    try:
        yield
    except Neo4jError as error:
        if _is_out_of_memory(error):
            raise TooLargeForGraphError(
                f"Neo4j has no memory for the transaction: {error.message}"
            ) from error
        if _is_refusal(error):
            raise RefusedByGraphError(f"Neo4j refused it ({error.code}): {error.message}") from error
        raise _unavailable(error, f"{error.code}: {error.message}") from error
    except (DriverError, OSError) as error:
        raise _unavailable(error, " ".join(str(error).split())) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise RefusedByGraphError(f"Neo4j has no such value: {error}") from error


def _unavailable(error: Exception, message: str) -> UnavailableError:
    """Return the error of a server that cannot be used now; a refusal ends once its login is corrected."""
    refusal = describe_refusal(error)
    if refusal is None:
        return UnavailableError(message, server=SERVER)
    return UnavailableError(f"it {refusal}", server=SERVER, reason=AccessRefusedError.reason)


def _is_out_of_memory(error: Neo4jError) -> bool:
    return "OutOfMemory" in (error.code or "") or "TransactionMemoryLimit" in (error.code or "")


def _is_refusal(error: Neo4jError) -> bool:
    """Return whether the statement or a value is at fault; a full disk or a wrong password may pass."""
    code = error.code or ""
    too_large = code == "Neo.DatabaseError.Statement.ExecutionFailed" and "too large" in (error.message or "")
    return too_large or code.startswith(("Neo.ClientError.Statement.", "Neo.ClientError.Schema."))
