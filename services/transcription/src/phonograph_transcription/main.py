"""Wires the transcription service."""

import sys

from phonograph_events import DiarizationCompleted, MediaReady, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_transcription import factory
from phonograph_transcription.config import ModelSettings, Settings
from phonograph_transcription.constants import MERGE, TRANSCRIBE
from phonograph_transcription.handlers import diarization, media
from phonograph_transcription.storage.tables import SqlTranscriptionJob


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    shell = ServiceApp(
        Service.TRANSCRIPTION,
        settings or Settings(),
        job_table=SqlTranscriptionJob,
        engines="phonograph_transcription.factory:create_engines",
    )
    shell.on(MediaReady, media.media_ready)
    shell.on(DiarizationCompleted, diarization.diarization_completed)
    shell.job(TRANSCRIBE, factory.transcribe_job())
    shell.job(MERGE, factory.merge_job())
    shell.inventory(factory.inventory)
    return shell


def main() -> None:
    """Run `phonograph-transcription`, or its command `models`."""
    if sys.argv[1:2] == ["models"]:
        from phonograph_transcription.handlers.models import run_models
        from phonograph_transcription.inference.models import ModelFolder

        sys.exit(run_models(sys.argv[2:], ModelFolder(ModelSettings().models)))
    command.main(create_app)
