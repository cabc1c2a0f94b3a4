"""The changes that each event makes to the graph."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    Facts,
    HighlightsCompleted,
    IdentityState,
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
    PersonChanged,
    RenameProposed,
    Result,
    ScoreCompleted,
    Service,
    SpeakersIdentified,
    TracklistCompleted,
    TranscriptionCompleted,
)
from phonograph_graph_sync.constants import REFUSED_RERUN
from phonograph_graph_sync.domain.facts import extract_facts, make_key_fact
from phonograph_graph_sync.domain.graph import (
    Aspect,
    Changes,
    Child,
    Edge,
    Facet,
    Label,
    Node,
    Ref,
    Relation,
    Sighting,
)
from phonograph_graph_sync.domain.names import normalize_name, readable_path, shorten_for_index

_RANK: Final[dict[str, int]] = {
    JobStatus.PENDING: 0,
    JobStatus.PROCESSING: 1,
    JobStatus.RETRYING: 2,
    JobStatus.COMPLETED: 3,
    JobStatus.FAILED: 4,
}
"""Order of the states within one attempt.

The job of a rejected file is completed, unless it failed and the file is rejected because of that.
"""
_MEDIA: Final = dict.fromkeys(
    (
        "file_hash", "secondary_hash", "content_fp", "file_size", "kind", "mime_type", "duration_s",
        "container", "audio", "video", "chapters", "tags", "warnings", "owner", "profile", "rendition_uri",
        "reason", "message", "version",
    )
)  # fmt: skip
"""Every facet with this aspect sets all of these, so that nothing of an older one remains."""
_JOB: Final = dict.fromkeys(
    (
        "status", "kind", "attempt", "progress", "stage", "engine", "model", "seconds", "waited_s", "reason",
        "message", "duplicate", "file_name", "requested", "used", "version", "level", "result_id",
        "parent_result_id", "document_uri", "causation_id", "correlation_id",
    )
)  # fmt: skip
_MUSIC: Final = {
    "algorithm_build", "bpm", "bpm_confidence", "bpm_candidates", "key", "scale", "key_strength",
    "loudness_lufs", "loudness_range_lu", "true_peak_dbtp", "danceability", "energy", "onset_rate", "camelot",
    "open_key", "tuning_hz", "tempo_needs_review", "beats_per_bar", "document_uri",
}  # fmt: skip
_TRANSCRIPT: Final = {
    "pipeline_version", "version", "language", "language_probability", "word_count", "segment_count",
    "speaker_count", "preview", "warnings", "document_uri", "meeting_id", "accuracy_estimate",
}  # fmt: skip
_RENAME: Final = {"current_filename", "proposed_filename", "reason", "confidence"}
_SEGMENT: Final = {"start", "end", "title", "keywords", "importance_score"}
_CLIP: Final = {"start", "end", "title", "uri", "subtitle_uri", "vtt_uri", "thumbnail_uri"}


def project(envelope: Envelope) -> Changes:
    """Return the changes that an event makes; none for an event that the graph does not mirror."""
    projection = _Projection(envelope)
    projector = _PROJECTORS.get(type(envelope.data))
    if projector is not None:
        projector(projection, envelope.data)
    return projection.changes


class _Projection:
    """Collects the changes of one event; a method for each type of event."""

    def __init__(self, envelope: Envelope) -> None:
        self.changes = Changes()
        self._version = envelope.aggregateversion
        self._cause = {"causation_id": envelope.causationid, "correlation_id": envelope.correlationid}
        self._time = envelope.time.astimezone(UTC)
        stamp = self._time.isoformat(timespec="microseconds")
        self._order = f"{self._version:020d}|{stamp}|{envelope.source}|{envelope.id}"
        self._recording = Ref(Label.RECORDING, (str(envelope.data.media_id),))

    def media_ready(self, event: MediaReady) -> None:
        media = event.media
        properties = media.model_dump(mode="json", include=set(_MEDIA)) | {
            "container": event.container,
            "audio": event.audio.model_dump_json(exclude_none=True),
            "video": None if event.video is None else event.video.model_dump_json(exclude_none=True),
            "chapters": _as_json([chapter.model_dump() for chapter in event.chapters]),
            "tags": _as_json(event.tags),
            "warnings": event.warnings,
            "version": self._version,
        }
        self._add_facet(self._recording, Aspect.MEDIA, _MEDIA | properties)
        self._add_facet(self._recording, Aspect.STATUS, {"status": "ready", "deleted_at": None})
        self._add_place(media.uri, media.file_name)
        self._add_sighting(media.uri)
        self._complete_job(event.job)

    def media_rejected(self, event: MediaRejected) -> None:
        properties = {"reason": event.reason, "message": event.message, "version": self._version}
        self._add_facet(self._recording, Aspect.MEDIA, _MEDIA | properties)
        self._add_facet(self._recording, Aspect.STATUS, {"status": "rejected", "deleted_at": None})
        self._add_place(event.uri, event.file_name)
        self._add_sighting(event.uri)
        self._complete_job(event.job, has_result=False, reason=event.reason, message=event.message)

    def media_duplicated(self, event: MediaDuplicated) -> None:
        elsewhere = event.uri != event.media.uri
        self._add_stub(self._recording)
        self._add_sighting(
            event.uri,
            duplicate=str(event.duplicate) if elsewhere else None,
            file_name=event.file_name,
            file_hash=event.file_hash,
        )
        self._complete_job(
            event.job, duplicate=str(event.duplicate), file_name=event.file_name if elsewhere else None
        )

    def media_moved(self, event: MediaMoved) -> None:
        self._add_place(event.to_uri, readable_path(event.to_uri).rpartition("/")[2])
        self._add_sighting(event.from_uri, gone_at=self._time)
        self._add_sighting(event.to_uri)

    def media_deleted(self, event: MediaDeleted) -> None:
        deleted_at = event.deleted_at.astimezone(UTC)
        self._add_facet(self._recording, Aspect.STATUS, {"status": "deleted", "deleted_at": deleted_at})
        self._add_sighting(event.uri, gone_at=deleted_at)

    def music_analyzed(self, event: MusicAnalyzed) -> None:
        properties = event.model_dump(mode="json", include=_MUSIC) | {
            "kind": "music",
            "media_id": str(event.media_id),
            "result_id": str(event.result_id),
            "reasons": _as_json(event.reasons),
            "tempo_sections": _as_json([section.model_dump() for section in event.tempo_sections]),
            "key_sections": _as_json([section.model_dump() for section in event.key_sections]),
            "engine": event.job.engine,
            "model": event.job.model,
        }
        ref = Ref(Label.ANALYSIS, (f"{event.media_id}/music",))
        analysis = self._make_child(ref, Relation.HAS_ANALYSIS, properties)
        edges: tuple[Edge, ...] = ()
        if event.key is not None and event.scale is not None:
            fact = make_key_fact(
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
        self._add_facet(self._recording, Aspect.MUSIC, {"bpm": event.bpm}, edges=edges, children=(analysis,))
        self._complete_result(event, result_id=str(event.result_id))

    def transcription_completed(self, event: TranscriptionCompleted) -> None:
        transcript = Ref(Label.TRANSCRIPT, (str(event.result_id),))
        properties = event.model_dump(mode="json", include=_TRANSCRIPT)
        properties |= {"engine": event.job.engine, "model": event.job.model}
        self._add_facet(transcript, Aspect.RESULT, properties)
        self._add_link(self._recording, Relation.HAS_TRANSCRIPT, transcript)
        if event.parent_result_id is not None:
            parent = Ref(Label.TRANSCRIPT, (str(event.parent_result_id),))
            self._add_link(transcript, Relation.DERIVED_FROM, parent)
        for voice in event.speakers:
            self._add_link(transcript, Relation.HAS_SPEAKER, Ref(Label.SPEAKER, (str(voice.speaker_id),)))
        self._complete_result(
            event,
            result_id=str(event.result_id),
            parent_result_id=None if event.parent_result_id is None else str(event.parent_result_id),
            level=str(event.pipeline_version),
        )

    def score_completed(self, event: ScoreCompleted) -> None:
        if event.result_id is None:
            return
        transcript = Ref(Label.TRANSCRIPT, (str(event.result_id),))
        properties = {"accuracy": event.accuracy, "accuracy_source": event.source}
        # The newest score counts: all of them are about the same version.
        self._add_facet(transcript, Aspect.SCORE, properties)
        self._add_link(self._recording, Relation.HAS_TRANSCRIPT, transcript)

    def diarization_completed(self, event: DiarizationCompleted) -> None:
        diarization = Ref(Label.DIARIZATION, (str(event.meeting_id),))
        properties = self._with_version(
            speaker_count=event.speaker_count,
            turn_count=event.turn_count,
            document_uri=event.document_uri,
            rttm_uri=event.rttm_uri,
            engine=event.job.engine,
            model=event.job.model,
        )
        self._add_facet(diarization, Aspect.RESULT, properties)
        self._add_link(self._recording, Relation.HAS_DIARIZATION, diarization)
        speaks_in: list[Edge] = []
        for voice in event.speakers:
            speaker = Ref(Label.SPEAKER, (str(voice.speaker_id),))
            self._add_facet(speaker, Aspect.RESULT, {"label": voice.label, "seconds": voice.seconds})
            self._add_link(diarization, Relation.HAS_SPEAKER, speaker)
            speaks_in.append(
                Edge(speaker, Relation.SPEAKS_IN, self._recording, identity=(("part", Aspect.SPEAKERS),))
            )
        self._add_facet(self._recording, Aspect.SPEAKERS, {}, edges=tuple(speaks_in))
        self._complete_result(event, result_id=str(event.meeting_id))

    def speakers_identified(self, event: SpeakersIdentified) -> None:
        diarization = Ref(Label.DIARIZATION, (str(event.meeting_id),))
        self._add_link(self._recording, Relation.HAS_DIARIZATION, diarization)
        for identified in event.speakers:
            speaker = Ref(Label.SPEAKER, (str(identified.speaker_id),))
            properties = {
                "label": identified.label,
                "identity": str(identified.state),
                "person_id": None if identified.person_id is None else str(identified.person_id),
                "score": identified.score,
                "decided_by": identified.decided_by,
                "decided_at": identified.decided_at and identified.decided_at.astimezone(UTC),
            }
            edges: tuple[Edge, ...] = ()
            if identified.person_id is not None:
                state = str(identified.state)
                edges = (
                    self._link_person(
                        speaker, Relation.IDENTIFIED_AS, identified.person_id, Aspect.IDENTITY, state=state
                    ),
                )
            self._add_facet(speaker, Aspect.IDENTITY, properties, edges=edges)
            self._add_link(diarization, Relation.HAS_SPEAKER, speaker)
        people = tuple(
            self._link_person(
                self._recording, Relation.SPOKEN_BY, person_id, Aspect.PEOPLE, state=IdentityState.CONFIRMED
            )
            for person_id in event.people
        )
        self._add_facet(self._recording, Aspect.PEOPLE, {}, edges=people)

    def person_changed(self, event: PersonChanged) -> None:
        person = Ref(Label.PERSON, (str(event.person_id),))
        properties = self._with_version(
            name=event.name,
            owner=event.owner,
            consent=event.consent,
            voiceprint_count=event.voiceprint_count,
            status="active" if event.name is not None else str(event.decision),
            merged_into=None if event.merged_into is None else str(event.merged_into),
            changed_by=event.changed_by,
        )
        self._add_facet(person, Aspect.RESULT, properties)

    def tracklist_completed(self, event: TracklistCompleted) -> None:
        facts = extract_facts(self._recording, event.metadata, self._time)
        for fact in facts:
            self.changes.add_node(fact.node)
        tracklist_id = None if event.tracklist_id is None else str(event.tracklist_id)
        children: tuple[Child, ...] = ()
        if tracklist_id is not None:
            properties = {
                "source_type": event.source_type,
                "track_count": event.track_count,
                "document_uri": event.document_uri,
            }
            ref = Ref(Label.TRACKLIST, (tracklist_id,))
            children = (self._make_child(ref, Relation.HAS_TRACKLIST, properties),)
        self._add_facet(
            self._recording,
            Aspect.CATALOG,
            {"recording_id": str(event.recording_id), "tracklist_id": tracklist_id},
            edges=tuple(fact.edge for fact in facts),
            children=children,
        )
        self._complete_result(event, result_id=tracklist_id)

    def rename_proposed(self, event: RenameProposed) -> None:
        proposal = Ref(Label.RENAME_PROPOSAL, (str(event.proposal_id),))
        properties = event.model_dump(mode="json", include=_RENAME)
        self._add_facet(proposal, Aspect.RESULT, self._with_version(**properties))
        self._add_link(self._recording, Relation.HAS_RENAME_PROPOSAL, proposal)

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
        children = [self._make_child(Ref(Label.HIGHLIGHTS, (media_id,)), Relation.HAS_HIGHLIGHTS, summary)]
        for position, segment in enumerate(event.segments):
            ref = Ref(Label.SEGMENT, (segment.segment_id or f"{media_id}/{position}",))
            properties = segment.model_dump(mode="json", include=_SEGMENT)
            topics = self._add_topics(segment.keywords or [segment.title])
            edges = tuple(Edge(ref, Relation.ABOUT, topic) for topic in topics)
            children.append(
                self._make_child(ref, Relation.HAS_SEGMENT, properties | {"position": position}, edges)
            )
        for clip in event.clips:
            ref = Ref(Label.CLIP, (clip.clip_id,))
            properties = clip.model_dump(mode="json", include=_CLIP)
            children.append(self._make_child(ref, Relation.HAS_CLIP, properties))
        self._add_facet(self._recording, Aspect.HIGHLIGHTS, {}, children=tuple(children))
        self._complete_result(event, level=str(event.stage))

    def job_progressed(self, event: JobProgressed) -> None:
        self._add_job(
            event.job_id,
            event.service,
            status=str(event.status),
            attempt=event.attempt,
            progress=event.progress,
            stage=event.stage,
            requested=_facts_as_json(event.requested),
        )
        self._link_known_job(event.job_id, event.service)

    def job_failed(self, event: JobFailed) -> None:
        self._add_job(
            event.job_id,
            event.service,
            status=str(JobStatus.FAILED if event.final else JobStatus.RETRYING),
            attempt=event.attempt,
            progress=None,
            kind=event.kind,
            engine=event.engine,
            reason=event.reason,
            message=event.message,
            requested=_facts_as_json(event.requested),
        )
        if event.kind != REFUSED_RERUN:
            self._link_known_job(event.job_id, event.service)

    def _complete_result(self, event: Result, **properties: Any) -> None:
        """Add the job of a result, with everything by which this version of the result can be found later."""
        version = self._with_version(document_uri=event.document_uri)
        self._complete_job(event.job, **version | self._cause | properties)

    def _complete_job(self, job: JobSummary, *, has_result: bool = True, **properties: Any) -> None:
        self._add_job(
            job.job_id,
            job.service,
            status=str(JobStatus.COMPLETED),
            attempt=job.attempt,
            progress=1.0,
            has_result=has_result,
            engine=job.engine,
            model=job.model,
            seconds=job.seconds,
            waited_s=job.waited_s,
            kind=job.kind,
            requested=_facts_as_json(job.requested),
            used=_facts_as_json(job.used),
            **{"reason": job.reason} | properties,
        )
        self._link_job(job.job_id)

    def _add_job(
        self,
        job_id: UUID,
        service: str,
        *,
        status: str,
        attempt: int,
        progress: float | None,
        has_result: bool = False,
        **properties: Any,
    ) -> None:
        """Add the state of a job.

        A state with a result is newer than any other; otherwise the attempt decides, then the status, then
        the progress.
        """
        order = f"{int(has_result)}|{attempt:06d}|{_RANK.get(status, 1)}|{progress or 0:.6f}|{self._order}"
        properties |= {"service": str(service), "status": status, "attempt": attempt, "progress": progress}
        properties |= {"media_id": self._recording.key[0]}
        self._add_facet(Ref(Label.JOB, (str(job_id),)), Aspect.RESULT, _JOB | properties, order=order)

    def _link_known_job(self, job_id: UUID, service: str) -> None:
        """Link a job to its recording, except one of ingest.

        Until ingest has read a file, the media id in its job events may never become a recording.
        """
        if service != Service.INGEST:
            self._link_job(job_id)

    def _link_job(self, job_id: UUID) -> None:
        self._add_link(Ref(Label.JOB, (str(job_id),)), Relation.WORKS_ON, self._recording)

    def _add_topics(self, names: list[str]) -> list[Ref]:
        topics = [Ref(Label.TOPIC, (name,)) for name in dict.fromkeys(map(normalize_name, names)) if name]
        for topic in topics:
            self.changes.add_node(Node(topic, self._time))
        return topics

    def _with_version(self, **properties: Any) -> dict[str, Any]:
        return properties | {"version": self._version}

    def _make_child(
        self, ref: Ref, relation: Relation, properties: dict[str, Any], edges: tuple[Edge, ...] = ()
    ) -> Child:
        return Child(ref, relation, self._time, self._with_version(**properties), edges)

    def _link_person(
        self, start: Ref, relation: Relation, person_id: UUID, aspect: Aspect, *, state: str
    ) -> Edge:
        """Return an edge of a facet to a person, whose own event may be still to come.

        Args:
            start: Owner of the facet.
            relation: Type of the edge.
            person_id: The person.
            aspect: Aspect of the facet.
            state: How certain it is.
        """
        person = Ref(Label.PERSON, (str(person_id),))
        self._add_stub(person)
        return Edge(
            start,
            relation,
            person,
            identity=(("part", aspect),),
            properties={"state": state},
            created_at=self._time,
        )

    def _add_place(self, uri: str, file_name: str) -> None:
        properties = {"uri": uri, "file_name": file_name, "file_path": readable_path(uri)}
        self._add_facet(self._recording, Aspect.PLACE, properties)

    def _add_sighting(self, uri: str, *, gone_at: datetime | None = None, **properties: Any) -> None:
        location = Ref(Label.LOCATION, (shorten_for_index(uri),))
        self.changes.add_node(Node(location, self._time))
        properties |= {"last_seen": self._time, "gone_at": gone_at}
        self._add_stub(self._recording)
        self.changes.add_sighting(Sighting(location, self._recording, self._order, properties))

    def _add_stub(self, ref: Ref) -> None:
        self.changes.add_node(Node(ref, self._time))

    def _add_link(self, start: Ref, relation: Relation, end: Ref) -> None:
        for ref in (start, end):
            self._add_stub(ref)
        self.changes.add_link(Edge(start, relation, end))

    def _add_facet(
        self,
        owner: Ref,
        aspect: Aspect,
        properties: dict[str, Any],
        *,
        order: str | None = None,
        edges: tuple[Edge, ...] = (),
        children: tuple[Child, ...] = (),
    ) -> None:
        self.changes.add_facet(
            Facet(owner, aspect, order or self._order, self._time, self._time, properties, edges, children)
        )


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _facts_as_json(facts: Facts) -> str | None:
    return _as_json(facts) if facts else None


_PROJECTORS: Final[dict[type[Event], Callable[[_Projection, Any], None]]] = {
    MediaReady: _Projection.media_ready,
    MediaRejected: _Projection.media_rejected,
    MediaDuplicated: _Projection.media_duplicated,
    MediaMoved: _Projection.media_moved,
    MediaDeleted: _Projection.media_deleted,
    MusicAnalyzed: _Projection.music_analyzed,
    TranscriptionCompleted: _Projection.transcription_completed,
    ScoreCompleted: _Projection.score_completed,
    DiarizationCompleted: _Projection.diarization_completed,
    SpeakersIdentified: _Projection.speakers_identified,
    PersonChanged: _Projection.person_changed,
    TracklistCompleted: _Projection.tracklist_completed,
    RenameProposed: _Projection.rename_proposed,
    HighlightsCompleted: _Projection.highlights_completed,
    JobProgressed: _Projection.job_progressed,
    JobFailed: _Projection.job_failed,
}
