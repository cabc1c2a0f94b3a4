"""Handlers of the events that the service consumes."""

from uuid import UUID

from phonograph_diarization.factory import diarization_service, people_service
from phonograph_events import MediaReady, PersonChangeRequested, RerunRequested, SpeakerNamingRequested
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the diarization of a new recording."""
    await diarization_service(transaction).request_diarization(event)


async def rerun_requested(event: RerunRequested, request_id: UUID, transaction: Transaction) -> None:
    """Request another diarization of a recording."""
    await diarization_service(transaction).request_rerun(event, request_id)


class PeopleRequests:
    """Handlers of the requests of users about speakers and people."""

    def __init__(self, objects: ObjectStore) -> None:
        """Create the handlers.

        Args:
            objects: Where documents for people are stored.
        """
        self._objects = objects

    async def speaker_naming_requested(self, event: SpeakerNamingRequested, transaction: Transaction) -> None:
        """Name a speaker, or confirm or refuse a suggestion."""
        service = people_service(transaction, self._objects)
        await service.name_speaker(event, _request_id(transaction))

    async def person_change_requested(self, event: PersonChangeRequested, transaction: Transaction) -> None:
        """Change, export or forget a person."""
        service = people_service(transaction, self._objects)
        await service.change_person(event, _request_id(transaction))


def _request_id(transaction: Transaction) -> str:
    return "" if transaction.cause is None else transaction.cause.event_id
