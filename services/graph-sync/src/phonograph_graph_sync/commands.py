"""The command `phonograph-graph-sync rebuild`: empties the graph and replays every event."""

import asyncio
import json
import sys
from dataclasses import asdict

from aiokafka.errors import KafkaError

from phonograph_events import Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.constants import REBUILD_LOCK
from phonograph_graph_sync.exceptions import RebuildError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink
from phonograph_graph_sync.handlers.replay import KafkaReplay
from phonograph_graph_sync.services.rebuild import RebuildResult, RebuildService
from phonograph_runtime.consumer import EventConsumer
from phonograph_runtime.errors import PermanentError, UnavailableError
from phonograph_runtime.kafka_access import check_access
from phonograph_runtime.logs import configure_logging
from phonograph_runtime.revisions import check_schema


def run_rebuild(settings: Settings) -> None:
    """Rebuild the graph and print the figures as JSON; exit with status 1 and one line if that fails."""
    configure_logging(Service.GRAPH_SYNC.value, settings.log_level)
    try:
        result = asyncio.run(rebuild(settings))
    except PermanentError as error:
        sys.exit(error.message)
    except UnavailableError as error:
        sys.exit(f"The graph was not rebuilt, {error.server} is unavailable: {error.message}")
    except (KafkaError, OSError) as error:
        sys.exit(f"The graph was not rebuilt, a server is unavailable: {error}")
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


async def rebuild(settings: Settings) -> RebuildResult:
    """Rebuild the graph, whether or not the service is running.

    Raises:
        RebuildError: If another rebuild is running, or this one failed.
        StaleSchemaError: If migrations are missing.
        AccessRefusedError: If PostgreSQL or Kafka refuses the login or the certificate.
        UnavailableError: If PostgreSQL or Neo4j cannot be reached.
        KafkaError: If Kafka does not answer.
    """
    url = settings.database_url.get_secret_value()
    await check_schema(url, settings.migrations / Service.GRAPH_SYNC.value)
    await check_access(settings.kafka_bootstrap_servers, settings)
    context = ProcessContext.create(settings, is_rebuild=True)
    try:
        async with context.database.advisory_lock(REBUILD_LOCK) as lock:
            if lock is None:
                raise RebuildError("The graph is being rebuilt already: wait until that rebuild has ended.")
            consumer = EventConsumer(
                context.database,
                GraphSink(context),
                retry_budget=settings.retry_budget,
                # What was parked before is parked again, however many events in a row.
                fuse_consecutive=sys.maxsize,
            )
            async with KafkaReplay(
                settings.kafka_bootstrap_servers,
                context.topics,
                consumer.consume,
                batch_size=settings.batch_size,
                security=settings,
            ) as replay:
                service = RebuildService(
                    graph=context.graph, replay=replay, clear_offsets=context.clear_offsets
                )
                return await service.rebuild()
    finally:
        await context.aclose()
