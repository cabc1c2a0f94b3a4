"""Wires the ingest service."""

from phonograph_events import IngestRequested, RerunRequested, Service
from phonograph_ingest import factory
from phonograph_ingest.config import Settings
from phonograph_ingest.handlers import events, jobs
from phonograph_ingest.storage.tables import SqlIngestJob
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    app = ServiceApp(
        Service.INGEST,
        settings or Settings(),
        job_table=SqlIngestJob,
        create_engine=factory.create_engine,
    )
    app.add_handler(IngestRequested, events.ingest_requested)
    app.add_handler(RerunRequested, events.rerun_requested)
    app.add_job_kind(jobs.INGEST_JOB)
    app.add_inventory(factory.inventory)
    return app


def main() -> None:
    """Run `phonograph-ingest`."""
    command.main(create_app)
