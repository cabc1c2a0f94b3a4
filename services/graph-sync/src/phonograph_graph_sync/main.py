"""Wires the graph-sync service, and the rebuild of the graph."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from aiokafka.errors import KafkaError
from sqlalchemy import text

from phonograph_events import Service
from phonograph_graph_sync import metrics
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.constants import REBUILD_LOCK, SAMPLE_INTERVAL
from phonograph_graph_sync.exceptions import RebuildError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.replay import KafkaLog
from phonograph_graph_sync.handlers.sink import GraphSink
from phonograph_graph_sync.services.rebuild import RebuildService, Rebuilt
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.consumer import EventConsumer
from phonograph_runtime.database import Database, Transaction
from phonograph_runtime.errors import PermanentError, UnavailableError
from phonograph_runtime.logs import configure_logging
from phonograph_runtime.revisions import check_schema


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    settings = settings or Settings()
    context = ProcessContext.create(settings)
    sink = GraphSink(context)
    shell = ServiceApp(Service.GRAPH_SYNC, settings, sink=sink)
    metrics.LAG_SECONDS.set_function(sink.lag_s)

    async def sample(_: Transaction) -> None:
        metrics.STUB_NODES.set(await context.graph.stubs())

    shell.add_periodic(SAMPLE_INTERVAL, sample)
    shell.add_closer(context.aclose)
    return shell


async def rebuild(settings: Settings) -> Rebuilt:
    """Empty the graph and replay every event, whether or not the service is running.

    Raises:
        RebuildError: another rebuild is running, or this one broke off.
        StaleSchemaError: the migrations have not been run.
        UnavailableError: a server cannot be reached.
    """
    url = settings.database_url.get_secret_value()
    await check_schema(url, settings.migrations / Service.GRAPH_SYNC.value)
    context = ProcessContext.create(settings, rebuilds=True)
    try:
        async with _only_rebuild(context.database):
            consumer = EventConsumer(
                context.database,
                GraphSink(context, prepared=True),
                retry_budget=settings.retry_budget,
                fuse_consecutive=sys.maxsize,
            )
            async with KafkaLog(
                settings.kafka_bootstrap_servers,
                context.topics,
                consumer.consume,
                batch_size=settings.batch_size,
            ) as log:
                service = RebuildService(
                    graph=context.graph, log=log, forget_positions=context.forget_positions
                )
                return await service.rebuild()
    finally:
        await context.aclose()


@asynccontextmanager
async def _only_rebuild(database: Database) -> AsyncIterator[None]:
    async with database.engine.connect() as connection:
        lock = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not await connection.scalar(lock, {"name": REBUILD_LOCK}):
            raise RebuildError("The graph is being rebuilt already: wait for that to end.")
        try:
            yield
        finally:
            await connection.invalidate()


def main() -> None:
    """Run `phonograph-graph-sync`; with `rebuild`, do that and print what was done as JSON."""
    if sys.argv[1:] != ["rebuild"]:
        command.main(create_app)
        return
    settings = Settings()
    configure_logging(Service.GRAPH_SYNC.value, settings.log_level)
    try:
        done = asyncio.run(rebuild(settings))
    except PermanentError as error:
        sys.exit(error.message)
    except (UnavailableError, KafkaError, OSError) as error:
        sys.exit(f"The graph was not rebuilt, a server is away: {error}")
    sys.stdout.write(json.dumps(asdict(done)) + "\n")
