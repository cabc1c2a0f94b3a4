"""The use case from a reference text to the accuracy of a transcript."""

import asyncio

import structlog

from phonograph_events import PermanentError, ScoreCompleted, ScoreRequested
from phonograph_runtime.ports import Publisher
from phonograph_transcription.domain.ports import ScoreStore
from phonograph_transcription.domain.scoring import compare
from phonograph_transcription.exceptions import ScoreRefusedError

logger = structlog.get_logger()


class ScoringService:
    """Compares transcripts with texts that people have checked; lives as long as one transaction."""

    def __init__(self, *, publisher: Publisher, store: ScoreStore) -> None:
        self._publisher = publisher
        self._store = store

    async def score(self, event: ScoreRequested) -> None:
        """Store and publish the accuracy of a transcript, or publish the reason why there is none."""
        request = {"media_id": event.media_id, "source": event.source, "request_id": event.request_id}
        try:
            answer = await self._score(event)
        except PermanentError as error:
            logger.warning("score refused", **error.to_logging_context())
            answer = ScoreCompleted(**request, reason=error.reason, message=error.message)
        await self._publisher.publish(answer, version=answer.version or 1)

    async def _score(self, event: ScoreRequested) -> ScoreCompleted:
        found = await self._store.find_text(event.media_id, event.result_id)
        if found is None:
            wanted = "transcript" if event.result_id is None else f"transcript {event.result_id}"
            raise ScoreRefusedError(
                f"The recording {event.media_id} has no {wanted}.", reason="no_transcript"
            )
        rates = await asyncio.to_thread(compare, event.reference, found.text)
        if rates is None:
            raise ScoreRefusedError(
                f"The reference {event.source} contains no words.", reason="empty_reference"
            )
        await self._store.set_accuracy(found.result_id, rates.accuracy, event.source)
        logger.info("transcript scored", word_error_rate=round(rates.word_error_rate, 4), words=rates.words)
        return ScoreCompleted(
            media_id=event.media_id,
            source=event.source,
            request_id=event.request_id,
            result_id=found.result_id,
            version=found.version,
            reference_words=rates.words,
            word_error_rate=rates.word_error_rate,
            character_error_rate=rates.character_error_rate,
            accuracy=rates.accuracy,
        )
