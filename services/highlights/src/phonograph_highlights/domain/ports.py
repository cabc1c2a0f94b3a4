"""Ports of the service: the topic segmenter and the store, in terms of the domain."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from typing_extensions import override

from phonograph_events import MediaRef, Stream
from phonograph_highlights.domain.highlights import (
    AttributedHighlights,
    HighlightsResult,
    SilenceResult,
    TopicSegment,
)
from phonograph_highlights.domain.speech import Utterance
from phonograph_highlights.domain.status import ProcessingStage
from phonograph_highlights.domain.tasks import AttributeTask, SegmentTask, SpokenTranscript
from phonograph_runtime.ports import InferenceEngine


class TopicSegmenter(InferenceEngine, Protocol):
    """An engine that splits a talk into topics."""

    @override
    def predict(
        self, utterances: Sequence[Utterance], *, language: str | None, limit: int
    ) -> list[TopicSegment]:
        """Split a talk into topics. Called by `HighlightsEngine` in the child process; may block.

        Args:
            utterances: The talk, in the order of time.
            language: ISO 639-1 code; None if unknown.
            limit: Maximum number of topics, at least 1.

        Returns:
            Topics that cover all utterances without gap or overlap; none if there are no utterances.
        """


class HighlightsStore(Protocol):
    """The recordings with their silence regions, segments and clips.

    All methods are called by `HighlightsService` within its transaction and wait for the database; they raise
    what its driver raises. `save_silence` and `save_highlights` hold the recording until the end of the
    transaction, so that two stages that complete at the same time take effect one after the other; the
    recording must have been added.
    """

    async def add_recording(self, media: MediaRef, video: Stream | None) -> None:
        """Add a recording; one that exists keeps everything but the description of its video.

        Args:
            media: The recording.
            video: Its video stream; None if it has none or the event does not describe it.
        """

    async def save_silence(self, media: MediaRef, result: SilenceResult, *, seconds: float | None) -> None:
        """Store the first stage, unless the second is stored already.

        Args:
            media: The recording.
            result: Its silence regions.
            seconds: Time in the engine.
        """

    async def silence_uri(self, media_id: UUID) -> str | None:
        """Return the URI of the first stage's document, or None if it is not stored."""

    async def save_highlights(self, task: SegmentTask, result: HighlightsResult) -> int | None:
        """Store the second stage in place of an earlier one.

        Args:
            task: Names the recording and the transcript.
            result: Everything found with this transcript.

        Returns:
            The new version of the highlights, or None if those of a newer transcript are stored.
        """

    async def save_spoken_transcript(self, media: MediaRef, transcript: SpokenTranscript) -> None:
        """Remember a v4 transcript, unless a newer one is stored.

        Args:
            media: The recording, which was added.
            transcript: The transcript.
        """

    async def attribution(self, media: MediaRef) -> AttributeTask | None:
        """Return the task of adding speakers to the highlights of a recording.

        None unless its highlights and the v4 transcript derive from the same v1 transcript.
        """

    async def save_speakers(self, task: AttributeTask, result: AttributedHighlights) -> int | None:
        """Store who speaks in the transcript of the highlights.

        Args:
            task: Names the recording and its transcript.
            result: The transcript with speakers, and the new document.

        Returns:
            The new version of the highlights, or None if those of another transcript are stored.
        """

    async def mark_failed(self, media: MediaRef, stage: ProcessingStage, message: str) -> None:
        """Store that a stage has failed for good; a completed recording stays completed.

        Args:
            media: The recording.
            stage: The stage that failed.
            message: Why, as a sentence.
        """

    async def versions(self) -> dict[str, dict[str, int]]:
        """Return the ids of all segments and clips, each with version 1."""
