"""Wires the diarization service."""

from phonograph_diarization import factory
from phonograph_diarization.config import Settings
from phonograph_diarization.handlers import events, jobs
from phonograph_diarization.storage.tables import SqlDiarizationJob
from phonograph_events import MediaReady, PersonChangeRequested, Service, SpeakerNamingRequested
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """Return the service, ready to run."""
    app = ServiceApp(
        Service.DIARIZATION,
        settings or Settings(),
        job_table=SqlDiarizationJob,
        create_engine=factory.create_engine,
    )
    people = events.PeopleRequests(app.objects)
    app.add_handler(MediaReady, events.media_ready)
    app.add_rerun(events.rerun_requested, "engine", "speakers", "min_speakers", "max_speakers")
    app.add_handler(SpeakerNamingRequested, people.speaker_naming_requested)
    app.add_handler(PersonChangeRequested, people.person_change_requested)
    app.add_job_kind(jobs.DIARIZE_JOB)
    app.add_inventory(factory.inventory)
    return app


def main() -> None:
    """Run `phonograph-diarization`."""
    command.main(create_app)
