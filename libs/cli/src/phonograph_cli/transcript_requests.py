"""Requests to the transcription service, and its answers."""

import asyncio
from typing import TypeVar
from uuid import UUID

from phonograph_cli.errors import RequestRefusedError
from phonograph_cli.kafka import KafkaClient
from phonograph_events import (
    EnhancementRequested,
    Event,
    ExportCompleted,
    ExportRequested,
    JobFailed,
    PipelineVersion,
    ScoreCompleted,
    ScoreRequested,
    TranscriptionCompleted,
    uuid7,
)

E = TypeVar("E", bound=Event)

ANSWER_TIMEOUT_S = 60.0
_NO_ANSWER = (
    f"The transcription service did not answer within {ANSWER_TIMEOUT_S:.0f} s; it will when it has time. "
    "See: phonograph status"
)


async def request_export(client: KafkaClient, media_id: str, export_format: str) -> ExportCompleted:
    """Request a file that is made from the transcript of a recording.

    Args:
        client: Connection to Kafka.
        media_id: Media ID of the recording.
        export_format: Format of the file.

    Returns:
        The answer, which has the URI of the file in the object store.

    Raises:
        RequestRefusedError: The service does not answer, or cannot make the file.
    """
    request_id = str(uuid7())
    request = ExportRequested(media_id=UUID(media_id), format=export_format, request_id=request_id)
    answer = await _ask(client, request, ExportCompleted, request_id)
    if answer.message is not None:
        raise RequestRefusedError(answer.message, reason=answer.reason)
    return answer


async def request_score(client: KafkaClient, media_id: str, reference: str, *, source: str) -> ScoreCompleted:
    """Request the accuracy of the current transcript of a recording.

    Args:
        client: Connection to Kafka.
        media_id: Media ID of the recording.
        reference: What is said in it.
        source: Name of that text.

    Returns:
        The answer, which has the error rates.

    Raises:
        RequestRefusedError: The service does not answer, or cannot compare them.
    """
    request_id = str(uuid7())
    request = ScoreRequested(
        media_id=UUID(media_id), reference=reference, source=source, request_id=request_id
    )
    answer = await _ask(client, request, ScoreCompleted, request_id)
    if answer.message is not None:
        raise RequestRefusedError(answer.message, reason=answer.reason)
    return answer


async def request_enhancement(
    client: KafkaClient, request: EnhancementRequested, *, wait: bool
) -> TranscriptionCompleted | None:
    """Request a transcript that is easier to read.

    Args:
        client: Connection to Kafka.
        request: Recording and rules.
        wait: Whether to wait for the enhanced transcript.

    Returns:
        The transcript, or None if it was not waited for.

    Raises:
        RequestRefusedError: The service does not answer, or cannot enhance the transcript.
    """
    if not wait:
        await client.publish([request])
        return None
    tail = await client.tail([TranscriptionCompleted.TOPIC, JobFailed.TOPIC])
    (sent,) = await client.publish([request])
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for received in tail.events():
                if received.envelope.correlationid != sent.correlationid:
                    continue
                event = received.envelope.data
                if isinstance(event, JobFailed) and event.final:
                    raise RequestRefusedError(event.message, reason=event.reason)
                if isinstance(event, TranscriptionCompleted) and event.pipeline_version == PipelineVersion.V2:
                    return event
    except TimeoutError:
        pass
    raise RequestRefusedError(_NO_ANSWER)


async def _ask(client: KafkaClient, request: Event, answer: type[E], request_id: str) -> E:
    """Publish a request, and return the event that answers it.

    Args:
        client: Connection to Kafka.
        request: The request.
        answer: Type of the answer.
        request_id: Id of the request, which the answer repeats.

    Raises:
        RequestRefusedError: There is no answer in time.
    """
    # The tail is opened before publishing, so that no answer is missed.
    tail = await client.tail([answer.TOPIC])
    await client.publish([request])
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for received in tail.events():
                event = received.envelope.data
                if isinstance(event, answer) and getattr(event, "request_id", None) == request_id:
                    return event
    except TimeoutError:
        pass
    raise RequestRefusedError(_NO_ANSWER)
