"""Every Kafka topic as data: its event, producers, consumers, partitions and retention."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from phonograph_events import payloads
from phonograph_events.enums import Service
from phonograph_events.payloads import Event

DEAD_LETTER_SUFFIX = "-dlq"
DEAD_LETTER_RETENTION: Final = timedelta(days=30)
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
MAX_DEAD_LETTER_BYTES: Final = 5 * 1024 * 1024
"""Fits any record and its dead-letter headers: a dead letter that Kafka refuses blocks the outbox."""

COMPACT: Final = "compact"
"""Cleanup of a topic that keeps the newest event of each key."""
COMPACTION: Final[Mapping[str, str]] = {"max.compaction.lag.ms": str(24 * 3600 * 1000)}
"""A newer event removes the older ones of its key within a day, or with the next event after that."""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """The configuration of a topic on Kafka."""

    name: str
    partitions: int
    cleanup: str
    retention: timedelta | None
    max_message_bytes: int

    @property
    def config(self) -> Mapping[str, str]:
        """Return the settings under Kafka's names."""
        retention_ms = -1 if self.retention is None else int(self.retention.total_seconds() * 1000)
        compaction = COMPACTION if self.cleanup == COMPACT else {}
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            **compaction,
        }


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with its event, producers and consumers."""

    event: type[Event]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int = 4
    retention: timedelta | None = None
    """None keeps every record, so that the graph can be rebuilt from the first offset."""
    cleanup: str = "delete"
    max_message_bytes: int = MAX_MESSAGE_BYTES

    @property
    def name(self) -> str:
        """Return the name on Kafka."""
        return self.event.TOPIC

    @property
    def owner(self) -> str:
        """Return the service responsible for the topic: its first producer."""
        return self.producers[0]

    @property
    def configs(self) -> tuple[TopicConfig, TopicConfig]:
        """Return the configurations of the topic and of its dead-letter topic."""
        return (
            TopicConfig(self.name, self.partitions, self.cleanup, self.retention, self.max_message_bytes),
            TopicConfig(
                dead_letter_topic(self.name), 1, "delete", DEAD_LETTER_RETENTION, MAX_DEAD_LETTER_BYTES
            ),
        )


ANALYSIS, DIARIZATION, GRAPH_SYNC, HIGHLIGHTS, INGEST, TRACKLIST, TRANSCRIPTION = (
    Service.ANALYSIS.value,
    Service.DIARIZATION.value,
    Service.GRAPH_SYNC.value,
    Service.HIGHLIGHTS.value,
    Service.INGEST.value,
    Service.TRACKLIST.value,
    Service.TRANSCRIPTION.value,
)
WORKERS = (INGEST, ANALYSIS, TRANSCRIPTION, DIARIZATION, TRACKLIST, HIGHLIGHTS)
CLI = "cli"

TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(payloads.IngestRequested, ("producers", CLI), (INGEST,)),
        Topic(
            payloads.MediaReady,
            (INGEST,),
            (ANALYSIS, TRANSCRIPTION, DIARIZATION, TRACKLIST, HIGHLIGHTS, GRAPH_SYNC),
        ),
        Topic(payloads.MediaRejected, (INGEST,), (GRAPH_SYNC,)),
        Topic(payloads.MediaDuplicated, (INGEST,), (GRAPH_SYNC,)),
        Topic(payloads.MediaMoved, (INGEST,), (GRAPH_SYNC,)),
        Topic(payloads.MediaDeleted, (INGEST,), (GRAPH_SYNC,)),
        Topic(payloads.MusicAnalyzed, (ANALYSIS,), (TRACKLIST, GRAPH_SYNC)),
        Topic(payloads.TranscriptionCompleted, (TRANSCRIPTION,), (HIGHLIGHTS, GRAPH_SYNC)),
        Topic(payloads.DiarizationCompleted, (DIARIZATION,), (TRANSCRIPTION, GRAPH_SYNC)),
        Topic(payloads.SpeakersIdentified, (DIARIZATION,), (GRAPH_SYNC,)),
        Topic(payloads.PersonChanged, (DIARIZATION,), (GRAPH_SYNC,), cleanup=COMPACT),
        Topic(payloads.TracklistCompleted, (TRACKLIST,), (GRAPH_SYNC,)),
        Topic(payloads.RenameProposed, (TRACKLIST,), (GRAPH_SYNC,)),
        Topic(payloads.HighlightsCompleted, (HIGHLIGHTS,), (GRAPH_SYNC,)),
        Topic(payloads.EnhancementRequested, ("producers", CLI), (TRANSCRIPTION,)),
        Topic(payloads.ExportRequested, ("producers", CLI), (TRANSCRIPTION,)),
        Topic(payloads.ExportCompleted, (TRANSCRIPTION,), (CLI,)),
        Topic(payloads.ScoreRequested, ("producers", CLI), (TRANSCRIPTION,)),
        Topic(payloads.ScoreCompleted, (TRANSCRIPTION,), (GRAPH_SYNC, CLI)),
        Topic(payloads.JobProgressed, WORKERS, (GRAPH_SYNC, CLI)),
        Topic(payloads.JobFailed, WORKERS, (GRAPH_SYNC, CLI)),
        Topic(payloads.JobRetryRequested, (CLI,), WORKERS, retention=timedelta(days=7)),
        Topic(payloads.JobCancelRequested, (CLI,), WORKERS, retention=timedelta(days=7)),
        Topic(
            payloads.SpeakerNamingRequested,
            (CLI, "producers"),
            (DIARIZATION,),
            partitions=1,
            retention=timedelta(days=7),
        ),
        Topic(
            payloads.PersonChangeRequested,
            (CLI, "producers"),
            (DIARIZATION,),
            partitions=1,
            retention=timedelta(days=7),
        ),
        Topic(
            payloads.PersonRequestAnswered, (DIARIZATION,), (CLI,), partitions=1, retention=timedelta(days=7)
        ),
        Topic(
            payloads.RerunRequested,
            ("producers", CLI),
            (ANALYSIS, TRANSCRIPTION, DIARIZATION, TRACKLIST, HIGHLIGHTS, INGEST),
            retention=timedelta(days=30),
        ),
        Topic(payloads.InventoryRequested, (CLI,), WORKERS, partitions=1, retention=timedelta(days=7)),
        Topic(payloads.InventoryReported, WORKERS, (CLI,), partitions=1, retention=timedelta(days=7)),
    )
}
EVENTS: Final[dict[str, type[Event]]] = {topic.event.event_type(): topic.event for topic in TOPICS.values()}


def dead_letter_topic(topic: str) -> str:
    """Return the name of the topic for records that a consumer of `topic` could not process."""
    return f"{topic}{DEAD_LETTER_SUFFIX}"
