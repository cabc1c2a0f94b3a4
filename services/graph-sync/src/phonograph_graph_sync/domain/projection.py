"""What each event says about the graph."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    HighlightsCompleted,
    JobFailed,
    JobProgressed,
    JobStatus,
    JobSummary,
    MediaDeleted,
    MediaDuplicated,
    MediaMoved,
    MediaReady,
    MediaRejected,
    MusicAnalyzed,
    RenameProposed,
    Service,
    TracklistCompleted,
    TranscriptionCompleted,
)
from phonograph_graph_sync.domain.catalogue import facts, key_fact
from phonograph_graph_sync.domain.graph import (
    Aspect,
    Changes,
    Child,
    Edge,
    Label,
    Node,
    Part,
    Ref,
    Relation,
    Sighting,
)
from phonograph_graph_sync.domain.names import decoded_path, indexable, normalized

_RANK: Final[dict[str, int]] = {
    JobStatus.PENDING: 0,
    JobStatus.PROCESSING: 1,
    JobStatus.RETRYING: 2,
    JobStatus.COMPLETED: 3,
    JobStatus.FAILED: 4,
}
"""A rejected file's job is completed, unless it failed and the file is rejected because of that."""
_MEDIA: Final = dict.fromkeys(
    (
        "file_hash", "secondary_hash", "content_fp", "file_size", "kind", "mime_type", "duration_s",
        "container", "audio", "video", "chapters", "tags", "warnings", "owner", "profile", "rendition_uri",
        "reason", "message", "version",
    )
)  # fmt: skip
"""Every word about a medium sets all of these, so that nothing of an older one stays."""
_JOB: Final = dict.fromkeys(
    (
        "status", "kind", "attempt", "progress", "stage", "engine", "model", "seconds", "waited_s", "reason",
        "message", "duplicate",
    )
)  # fmt: skip
_MUSIC: Final = {
    "algorithm_build", "bpm", "bpm_confidence", "bpm_candidates", "key", "scale", "key_strength",
    "loudness_lufs", "danceability", "document_uri",
}  # fmt: skip
_TRANSCRIPT: Final = {
    "pipeline_version", "version", "language", "language_probability", "word_count", "segment_count",
    "speaker_count", "preview", "warnings", "document_uri",
}  # fmt: skip
_RENAME: Final = {"current_filename", "proposed_filename", "reason", "confidence"}
_SEGMENT: Final = {"start", "end", "title", "keywords", "importance_score"}
_CLIP: Final = {"start", "end", "title", "uri", "subtitle_uri", "vtt_uri", "thumbnail_uri"}


def project(envelope: Envelope) -> Changes:
    """The changes that an event makes; none for an event that the graph does not hold."""
    projection = _Projection(envelope)
    says = _SAYS.get(type(envelope.data))
    if says is not None:
        says(projection, envelope.data)
    return projection.changes


class _Projection:
    """Collects the changes of one event."""

    def __init__(self, envelope: Envelope) -> None:
        self.changes = Changes()
        self._version = envelope.aggregateversion
        self._time = envelope.time.astimezone(UTC)
        stamp = self._time.isoformat(timespec="microseconds")
        self._order = f"{self._version:020d}|{stamp}|{envelope.source}|{envelope.id}"
        self._recording = Ref(Label.RECORDING, (str(envelope.data.media_id),))

    def media_ready(self, event: MediaReady) -> None:
        media = event.media
        told = media.model_dump(mode="json", include=set(_MEDIA)) | {
            "container": event.container,
            "audio": event.audio.model_dump_json(exclude_none=True),
            "video": None if event.video is None else event.video.model_dump_json(exclude_none=True),
            "chapters": _as_json([chapter.model_dump() for chapter in event.chapters]),
            "tags": _as_json(event.tags),
            "warnings": event.warnings,
            "version": self._version,
        }
        self._part(self._recording, Aspect.MEDIA, _MEDIA | told)
        self._part(self._recording, Aspect.STATUS, {"status": "ready", "deleted_at": None})
        self._place(media.uri, media.file_name)
        self._sight(media.uri)
        self._completed(event.job)

    def media_rejected(self, event: MediaRejected) -> None:
        told = {"reason": event.reason, "message": event.message, "version": self._version}
        self._part(self._recording, Aspect.MEDIA, _MEDIA | told)
        self._part(self._recording, Aspect.STATUS, {"status": "rejected", "deleted_at": None})
        self._place(event.uri, event.file_name)
        self._sight(event.uri)
        self._completed(event.job, found=False, reason=event.reason, message=event.message)

    def media_duplicated(self, event: MediaDuplicated) -> None:
        elsewhere = event.uri != event.media.uri
        self._stub(self._recording)
        self._sight(
            event.uri,
            duplicate=str(event.duplicate) if elsewhere else None,
            file_name=event.file_name,
            file_hash=event.file_hash,
        )
        self._completed(event.job, duplicate=str(event.duplicate))

    def media_moved(self, event: MediaMoved) -> None:
        self._place(event.to_uri, decoded_path(event.to_uri).rpartition("/")[2])
        self._sight(event.from_uri, gone_at=self._time)
        self._sight(event.to_uri)

    def media_deleted(self, event: MediaDeleted) -> None:
        deleted_at = event.deleted_at.astimezone(UTC)
        self._part(self._recording, Aspect.STATUS, {"status": "deleted", "deleted_at": deleted_at})
        self._sight(event.uri, gone_at=deleted_at)

    def music_analyzed(self, event: MusicAnalyzed) -> None:
        told = event.model_dump(mode="json", include=_MUSIC) | {
            "kind": "music",
            "media_id": str(event.media_id),
            "result_id": str(event.result_id),
            "reasons": _as_json(event.reasons),
            "engine": event.job.engine,
            "model": event.job.model,
        }
        ref = Ref(Label.ANALYSIS, (f"{event.media_id}/music",))
        analysis = self._child(ref, Relation.HAS_ANALYSIS, told)
        edges: tuple[Edge, ...] = ()
        if event.key is not None and event.scale is not None:
            fact = key_fact(
                self._recording,
                aspect=Aspect.MUSIC,
                key=event.key,
                scale=event.scale,
                confidence=event.key_strength or 0.0,
                method=event.job.engine or "analysis",
                time=self._time,
            )
            self.changes.add_node(fact.node)
            edges = (fact.edge,)
        self._part(self._recording, Aspect.MUSIC, {"bpm": event.bpm}, edges=edges, children=(analysis,))
        self._completed(event.job)

    def transcription_completed(self, event: TranscriptionCompleted) -> None:
        transcript = Ref(Label.TRANSCRIPT, (str(event.result_id),))
        told = event.model_dump(mode="json", include=_TRANSCRIPT)
        told |= {"engine": event.job.engine, "model": event.job.model}
        self._part(transcript, Aspect.RESULT, told)
        self._link(self._recording, Relation.HAS_TRANSCRIPT, transcript)
        if event.parent_result_id is not None:
            parent = Ref(Label.TRANSCRIPT, (str(event.parent_result_id),))
            self._link(transcript, Relation.DERIVED_FROM, parent)
        self._completed(event.job)

    def diarization_completed(self, event: DiarizationCompleted) -> None:
        diarization = Ref(Label.DIARIZATION, (str(event.meeting_id),))
        told = self._versioned(
            speaker_count=event.speaker_count,
            turn_count=event.turn_count,
            document_uri=event.document_uri,
            rttm_uri=event.rttm_uri,
            engine=event.job.engine,
            model=event.job.model,
        )
        self._part(diarization, Aspect.RESULT, told)
        self._link(self._recording, Relation.HAS_DIARIZATION, diarization)
        for voice in event.speakers:
            speaker = Ref(Label.SPEAKER, (str(voice.speaker_id),))
            known = None if voice.user_profile_id is None else str(voice.user_profile_id)
            self._part(
                speaker,
                Aspect.RESULT,
                {
                    "label": voice.label,
                    "seconds": voice.seconds,
                    "user_profile_id": known,
                    "confidence": voice.confidence,
                },
            )
            self._link(diarization, Relation.HAS_SPEAKER, speaker)
            self._link(speaker, Relation.SPEAKS_IN, self._recording)
        self._completed(event.job)

    def tracklist_completed(self, event: TracklistCompleted) -> None:
        found = facts(self._recording, event.metadata, self._time)
        for fact in found:
            self.changes.add_node(fact.node)
        tracklist_id = None if event.tracklist_id is None else str(event.tracklist_id)
        self._part(
            self._recording,
            Aspect.CATALOGUE,
            {"recording_id": str(event.recording_id), "tracklist_id": tracklist_id},
            edges=tuple(fact.edge for fact in found),
        )
        if tracklist_id is not None:
            tracklist = Ref(Label.TRACKLIST, (tracklist_id,))
            self._part(
                tracklist,
                Aspect.RESULT,
                self._versioned(
                    source_type=event.source_type,
                    track_count=event.track_count,
                    document_uri=event.document_uri,
                ),
            )
            self._link(self._recording, Relation.HAS_TRACKLIST, tracklist)
        self._completed(event.job)

    def rename_proposed(self, event: RenameProposed) -> None:
        proposal = Ref(Label.RENAME_PROPOSAL, (str(event.proposal_id),))
        told = event.model_dump(mode="json", include=_RENAME)
        self._part(proposal, Aspect.RESULT, self._versioned(**told))
        self._link(self._recording, Relation.HAS_RENAME_PROPOSAL, proposal)

    def highlights_completed(self, event: HighlightsCompleted) -> None:
        media_id = str(event.media_id)
        summary = {
            "media_id": media_id,
            "stage": str(event.stage),
            "silence_region_count": event.silence_region_count,
            "segment_count": len(event.segments),
            "clip_count": len(event.clips),
            "document_uri": event.document_uri,
            "engine": event.job.engine,
            "model": event.job.model,
        }
        children = [self._child(Ref(Label.HIGHLIGHTS, (media_id,)), Relation.HAS_HIGHLIGHTS, summary)]
        for position, segment in enumerate(event.segments):
            ref = Ref(Label.SEGMENT, (segment.segment_id or f"{media_id}/{position}",))
            told = segment.model_dump(mode="json", include=_SEGMENT)
            topics = self._topics(segment.keywords or [segment.title])
            edges = tuple(Edge(ref, Relation.ABOUT, topic) for topic in topics)
            children.append(self._child(ref, Relation.HAS_SEGMENT, told | {"position": position}, edges))
        for clip in event.clips:
            ref = Ref(Label.CLIP, (clip.clip_id,))
            told = clip.model_dump(mode="json", include=_CLIP)
            children.append(self._child(ref, Relation.HAS_CLIP, told))
        self._part(self._recording, Aspect.HIGHLIGHTS, {}, children=tuple(children))
        self._completed(event.job)

    def job_progressed(self, event: JobProgressed) -> None:
        self._job(
            event.job_id,
            event.service,
            status=str(event.status),
            attempt=event.attempt,
            progress=event.progress,
            stage=event.stage,
        )
        self._works_on_known(event.job_id, event.service)

    def job_failed(self, event: JobFailed) -> None:
        self._job(
            event.job_id,
            event.service,
            status=str(JobStatus.FAILED if event.final else JobStatus.RETRYING),
            attempt=event.attempt,
            progress=None,
            kind=event.kind,
            engine=event.engine,
            reason=event.reason,
            message=event.message,
        )
        self._works_on_known(event.job_id, event.service)

    def _completed(self, job: JobSummary, *, found: bool = True, **told: Any) -> None:
        self._job(
            job.job_id,
            job.service,
            status=str(JobStatus.COMPLETED),
            attempt=job.attempt,
            progress=1.0,
            found=found,
            engine=job.engine,
            model=job.model,
            seconds=job.seconds,
            waited_s=job.waited_s,
            **{"reason": job.reason} | told,
        )
        self._works_on(job.job_id)

    def _job(
        self,
        job_id: UUID,
        service: str,
        *,
        status: str,
        attempt: int,
        progress: float | None,
        found: bool = False,
        **told: Any,
    ) -> None:
        """A job with a result stays so; before that the attempt tells what is newer, then the status."""
        order = f"{int(found)}|{attempt:06d}|{_RANK.get(status, 1)}|{progress or 0:.6f}|{self._order}"
        told |= {"service": str(service), "status": status, "attempt": attempt, "progress": progress}
        told |= {"media_id": self._recording.key[0]}
        self._part(Ref(Label.JOB, (str(job_id),)), Aspect.RESULT, _JOB | told, order=order)

    def _works_on_known(self, job_id: UUID, service: str) -> None:
        """Until ingest has read a file, the media id in its job events may never become a recording."""
        if service != Service.INGEST:
            self._works_on(job_id)

    def _works_on(self, job_id: UUID) -> None:
        self._link(Ref(Label.JOB, (str(job_id),)), Relation.WORKS_ON, self._recording)

    def _topics(self, names: list[str]) -> list[Ref]:
        topics = [Ref(Label.TOPIC, (name,)) for name in dict.fromkeys(map(normalized, names)) if name]
        for topic in topics:
            self.changes.add_node(Node(topic, self._time))
        return topics

    def _versioned(self, **told: Any) -> dict[str, Any]:
        return told | {"version": self._version}

    def _child(
        self, ref: Ref, relation: Relation, told: dict[str, Any], edges: tuple[Edge, ...] = ()
    ) -> Child:
        return Child(ref, relation, self._time, self._versioned(**told), edges)

    def _place(self, uri: str, file_name: str) -> None:
        told = {"uri": uri, "file_name": file_name, "file_path": decoded_path(uri)}
        self._part(self._recording, Aspect.PLACE, told)

    def _sight(self, uri: str, *, gone_at: datetime | None = None, **told: Any) -> None:
        location = Ref(Label.LOCATION, (indexable(uri),))
        self.changes.add_node(Node(location, self._time))
        told |= {"last_seen": self._time, "gone_at": gone_at}
        self._stub(self._recording)
        self.changes.add_sighting(Sighting(location, self._recording, self._order, told))

    def _stub(self, ref: Ref) -> None:
        self.changes.add_node(Node(ref, self._time))

    def _link(self, start: Ref, relation: Relation, end: Ref) -> None:
        for ref in (start, end):
            self._stub(ref)
        self.changes.add_link(Edge(start, relation, end))

    def _part(
        self,
        owner: Ref,
        aspect: Aspect,
        told: dict[str, Any],
        *,
        order: str | None = None,
        edges: tuple[Edge, ...] = (),
        children: tuple[Child, ...] = (),
    ) -> None:
        self.changes.add_part(
            Part(owner, aspect, order or self._order, self._time, self._time, told, edges, children)
        )


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


_SAYS: Final[dict[type[Event], Callable[[_Projection, Any], None]]] = {
    MediaReady: _Projection.media_ready,
    MediaRejected: _Projection.media_rejected,
    MediaDuplicated: _Projection.media_duplicated,
    MediaMoved: _Projection.media_moved,
    MediaDeleted: _Projection.media_deleted,
    MusicAnalyzed: _Projection.music_analyzed,
    TranscriptionCompleted: _Projection.transcription_completed,
    DiarizationCompleted: _Projection.diarization_completed,
    TracklistCompleted: _Projection.tracklist_completed,
    RenameProposed: _Projection.rename_proposed,
    HighlightsCompleted: _Projection.highlights_completed,
    JobProgressed: _Projection.job_progressed,
    JobFailed: _Projection.job_failed,
}
