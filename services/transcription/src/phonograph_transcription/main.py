"""Wires the transcription service."""

from phonograph_events import (
    DiarizationCompleted,
    EnhancementRequested,
    ExportRequested,
    MediaReady,
    ScoreRequested,
    Service,
)
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_transcription import factory
from phonograph_transcription.config import Settings
from phonograph_transcription.handlers import events, jobs
from phonograph_transcription.storage.tables import SqlTranscriptionJob


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    app = ServiceApp(
        Service.TRANSCRIPTION,
        settings or Settings(),
        job_table=SqlTranscriptionJob,
        create_engine=factory.create_engine,
    )
    app.add_handler(MediaReady, events.media_ready)
    app.add_handler(DiarizationCompleted, events.diarization_completed)
    app.add_rerun(events.rerun_requested, "engine", "model", "preset", "language")
    app.add_handler(ExportRequested, events.ExportHandler(app.objects).export_requested)
    app.add_handler(EnhancementRequested, events.enhancement_requested)
    app.add_handler(ScoreRequested, events.score_requested)
    app.add_job_kind(jobs.TRANSCRIBE_JOB)
    app.add_job_kind(jobs.MERGE_JOB)
    app.add_job_kind(jobs.ENHANCE_JOB)
    app.add_inventory(factory.inventory)
    return app


def main() -> None:
    """Run `phonograph-transcription`."""
    command.main(create_app)
