"""Wires the highlights service."""

from phonograph_events import MediaReady, Service, TranscriptionCompleted
from phonograph_highlights import factory
from phonograph_highlights.config import Settings
from phonograph_highlights.constants import SEGMENTS, SILENCE
from phonograph_highlights.handlers import results
from phonograph_highlights.storage.tables import SqlHighlightsJob
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    shell = ServiceApp(
        Service.HIGHLIGHTS,
        settings or Settings(),
        job_table=SqlHighlightsJob,
        engines="phonograph_highlights.factory:create_engines",
    )
    shell.on(MediaReady, results.media_ready)
    shell.on(TranscriptionCompleted, results.transcription_completed)
    shell.job(SILENCE, factory.silence_job())
    shell.job(SEGMENTS, factory.segments_job())
    shell.inventory(factory.inventory)
    return shell


def main() -> None:
    """Run `phonograph-highlights`."""
    command.main(create_app)
