"""Wires the tracklist service."""

from phonograph_events import MediaReady, MusicAnalyzed, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp
from phonograph_tracklist import factory
from phonograph_tracklist.config import Settings
from phonograph_tracklist.handlers import events, jobs, periodic
from phonograph_tracklist.storage.tables import SqlTracklistJob


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    settings = settings or Settings()
    app = ServiceApp(
        Service.TRACKLIST,
        settings,
        job_table=SqlTracklistJob,
        create_engine=factory.create_engine,
    )
    app.add_handler(MediaReady, events.media_ready)
    app.add_handler(MusicAnalyzed, events.music_analyzed)
    app.add_rerun(events.rerun_requested)
    app.add_job_kind(jobs.TRACKLIST_JOB)
    app.add_inventory(factory.inventory)
    app.add_periodic(settings.stats_refresh, periodic.refresh_stats)
    return app


def main() -> None:
    """Run `phonograph-tracklist`."""
    command.main(create_app)
