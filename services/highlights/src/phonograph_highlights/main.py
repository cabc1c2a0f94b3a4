"""Wires the highlights service."""

from phonograph_events import MediaReady, Service, TranscriptionCompleted
from phonograph_highlights import factory
from phonograph_highlights.config import Settings
from phonograph_highlights.handlers import events, jobs
from phonograph_highlights.storage.tables import SqlHighlightsJob
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    app = ServiceApp(
        Service.HIGHLIGHTS,
        settings or Settings(),
        job_table=SqlHighlightsJob,
        create_engine=factory.create_engine,
    )
    app.add_handler(MediaReady, events.media_ready)
    app.add_handler(TranscriptionCompleted, events.transcription_completed)
    app.add_rerun(events.rerun_requested)
    app.add_job_kind(jobs.DETECT_SILENCE_JOB)
    app.add_job_kind(jobs.SEGMENT_JOB)
    app.add_job_kind(jobs.ATTRIBUTE_JOB)
    app.add_inventory(factory.inventory)
    return app


def main() -> None:
    """Run `phonograph-highlights`."""
    command.main(create_app)
