"""Wires the graph-sync service."""

import sys

from phonograph_events import Service
from phonograph_graph_sync import metrics
from phonograph_graph_sync.commands import run_rebuild
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.constants import SAMPLE_INTERVAL
from phonograph_graph_sync.domain.lag import LagClock
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Transaction


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    settings = settings or Settings()
    context = ProcessContext.create(settings)
    clock = LagClock()
    app = ServiceApp(Service.GRAPH_SYNC, settings, database=context.database, sink=GraphSink(context, clock))
    metrics.LAG_SECONDS.set_function(clock.lag_s)

    async def count_stubs(_: Transaction) -> None:
        metrics.STUB_NODES.set(await context.graph.count_stubs())

    app.add_periodic(SAMPLE_INTERVAL, count_stubs)
    app.add_readiness_check(context.graph.readiness_failure)
    app.add_closer(context.graph.aclose)
    return app


def main() -> None:
    """Run `phonograph-graph-sync`, or its command `rebuild`."""
    if sys.argv[1:] == ["rebuild"]:
        run_rebuild(Settings())
    else:
        command.main(create_app)
