"""What the use cases and the engines need from outside, in the words of the domain."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from phonograph_events import MediaRef, Stream
from phonograph_highlights.domain.highlights import HighlightsFound, SilenceFound, Topic
from phonograph_highlights.domain.speech import Utterance
from phonograph_highlights.domain.status import Stage
from phonograph_highlights.domain.tasks import SegmentsTask


class TopicSegmenter(Protocol):
    """Tells the topics of a talk apart."""

    def segment(self, spoken: Sequence[Utterance], *, language: str | None, limit: int) -> list[Topic]:
        """Split utterances into at most `limit` topics that follow one another without a gap."""


class HighlightsStore(Protocol):
    """What was found in each recording."""

    async def open(self, media: MediaRef, video: Stream | None) -> None:
        """Add the recording; what is there already stays."""

    async def keep_silence(self, media: MediaRef, found: SilenceFound, *, seconds: float | None) -> None:
        """Keep the first stage, unless the second is there already."""

    async def silence_uri(self, media_id: UUID) -> str | None:
        """Address of the first stage's document."""

    async def keep_highlights(self, task: SegmentsTask, found: HighlightsFound) -> int | None:
        """Keep the second stage in place of an older one; its version, or null when a newer one is there."""

    async def fail(self, media: MediaRef, stage: Stage, message: str) -> None:
        """Keep that a stage failed for good."""

    async def versions(self) -> dict[str, dict[str, int]]:
        """Ids of all segments and clips, each at version 1."""
