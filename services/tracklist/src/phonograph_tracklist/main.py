"""Wires the tracklist service."""

from phonograph_events import MediaReady, MusicAnalyzed, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_tracklist import factory
from phonograph_tracklist.config import Settings
from phonograph_tracklist.constants import TRACKLIST
from phonograph_tracklist.handlers import media, music
from phonograph_tracklist.storage.tables import SqlTracklistJob


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    settings = settings or Settings()
    shell = ServiceApp(
        Service.TRACKLIST,
        settings,
        job_table=SqlTracklistJob,
        engines="phonograph_tracklist.factory:create_engines",
    )
    shell.on(MediaReady, media.media_ready)
    shell.on(MusicAnalyzed, music.music_analyzed)
    shell.job(TRACKLIST, factory.tracklist_job())
    shell.inventory(factory.inventory)
    shell.every(settings.stats_refresh, factory.refresh_stats)
    return shell


def main() -> None:
    """Run `phonograph-tracklist`."""
    command.main(create_app)
