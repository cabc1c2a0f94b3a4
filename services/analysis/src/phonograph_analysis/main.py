"""Wires the analysis service."""

from phonograph_analysis import factory
from phonograph_analysis.config import Settings
from phonograph_analysis.handlers import events, jobs
from phonograph_analysis.storage.tables import SqlAnalysisJob
from phonograph_events import MediaReady, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    app = ServiceApp(
        Service.ANALYSIS,
        settings or Settings(),
        job_table=SqlAnalysisJob,
        create_engine=factory.create_engine,
    )
    app.add_handler(MediaReady, events.media_ready)
    app.add_rerun(events.rerun_requested)
    app.add_job_kind(jobs.ANALYZE_JOB)
    app.add_inventory(factory.inventory)
    return app


def main() -> None:
    """Run `phonograph-analysis`."""
    command.main(create_app)
