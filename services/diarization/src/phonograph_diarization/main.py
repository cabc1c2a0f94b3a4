"""Wires the diarization service."""

from phonograph_diarization import factory
from phonograph_diarization.config import Settings
from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.handlers import media
from phonograph_diarization.storage.tables import SqlDiarizationJob
from phonograph_events import MediaReady, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    shell = ServiceApp(
        Service.DIARIZATION,
        settings or Settings(),
        job_table=SqlDiarizationJob,
        engines="phonograph_diarization.factory:create_engines",
    )
    shell.on(MediaReady, media.media_ready)
    shell.job(DIARIZE, factory.diarize_job())
    shell.inventory(factory.inventory)
    return shell


def main() -> None:
    """Run `phonograph-diarization`."""
    command.main(create_app)
