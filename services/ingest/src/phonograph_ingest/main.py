"""Wires the ingest service."""

from phonograph_events import IngestRequested, Service
from phonograph_ingest import factory
from phonograph_ingest.config import Settings
from phonograph_ingest.constants import INGEST
from phonograph_ingest.handlers import requests
from phonograph_ingest.storage.tables import SqlIngestJob
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    shell = ServiceApp(
        Service.INGEST,
        settings or Settings(),
        job_table=SqlIngestJob,
        engines="phonograph_ingest.factory:create_engines",
    )
    shell.on(IngestRequested, requests.ingest_requested)
    shell.job(INGEST, factory.ingest_job())
    shell.inventory(factory.inventory)
    return shell


def main() -> None:
    """Run `phonograph-ingest`."""
    command.main(create_app)
