"""Finding the highlights again on real servers."""

from pathlib import Path
from typing import Any

from tests.support.scratch import wait_until_consumed
from tests.support.stack import Stack, running

from phonograph_events import (
    Envelope,
    HighlightsCompleted,
    JobFailed,
    JobProgressed,
    RerunRequested,
    SpeakerSummary,
    uuid7,
)
from phonograph_highlights.domain.highlights import recording_job_id

from .test_highlights_service import (
    highlights_of,
    media_of,
    ready,
    record,
    select,
    service,
    talk,
    transcribed,
)


async def test_each_request_makes_one_version_from_the_newest_transcript(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """The clips and the document of the older version stay; without a transcript a request is refused."""
    app, lines = service(stack, tmp_path), talk()
    media = media_of(app, record(tmp_path / "talk.wav", lines), lines[-1].end + 1, profile="speech")
    request = RerunRequested(media_id=media.media_id, service="highlights")

    async def collect(kind: type[Any], count: int) -> list[Envelope]:
        found = await stack.collect(
            lambda events: sum(isinstance(event.data, kind) for event in events) == count,
            correlation_id=correlation_id,
        )
        return [event for event in found if isinstance(event.data, kind)]

    async with running(app):
        ingested = await stack.publish(ready(media), correlation_id=correlation_id)
        await wait_until_consumed(app.database, ingested)
        await stack.publish(request, correlation_id=correlation_id)
        (refused,) = await collect(JobFailed, 1)
        transcripts = [transcribed(app, media, lines, version=version) for version in (1, 3)]
        transcripts.append(transcribed(app, media, lines, version=4, level="v4"))
        sent_transcripts = [
            await stack.publish(transcript, correlation_id=correlation_id) for transcript in transcripts
        ]
        await wait_until_consumed(app.database, *sent_transcripts)
        sent = await stack.publish(request, correlation_id=correlation_id)
        await stack.send(sent.to_record())
        await collect(HighlightsCompleted, 1)
        await stack.publish(request, correlation_id=correlation_id)
        results = await collect(HighlightsCompleted, 2)
        tasks = await select(
            stack,
            "SELECT task ->> 'version' FROM highlights_jobs WHERE media_file_id = :id",
            id=media.media_id,
        )
        clips = await select(
            stack, "SELECT clip_id FROM clips WHERE job_id = :id", id=recording_job_id(media.media_id)
        )
        for result in results:
            assert await app.objects.get_async(result.data.document_uri)
            for clip in result.data.clips:
                assert await app.objects.get_async(clip.uri)
    assert refused.data.reason == "no_transcript"
    assert tasks == [("3",), ("3",)]
    first, second = highlights_of(results, media, "segments")
    assert (first.aggregateversion, second.aggregateversion) == (2, 3)
    assert len(first.data.clips) == len(second.data.clips) == 2
    first_ids, second_ids = ({clip.clip_id for clip in result.data.clips} for result in (first, second))
    assert first_ids.isdisjoint(second_ids)
    assert {clip_id for (clip_id,) in clips} == second_ids
    assert [s.start for s in first.data.segments] == [s.start for s in second.data.segments]


async def test_highlights_of_an_overtaken_transcript_end_without_a_result(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    app, lines = service(stack, tmp_path), talk(lines=2)
    media = media_of(app, record(tmp_path / "talk.wav", lines), lines[-1].end + 1)
    async with running(app):
        for version in (2, 1):
            await stack.publish(
                transcribed(app, media, lines, version=version), correlation_id=correlation_id
            )
        events = await stack.collect(
            lambda found: any(
                isinstance(event.data, JobProgressed) and event.data.stage == "superseded" for event in found
            ),
            correlation_id=correlation_id,
        )
    assert events[-1].data.status == "completed"
    assert len(highlights_of(events, media, "segments")) == 1


async def test_each_request_finds_the_speakers_of_the_segments_again(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """Also if the profile leaves the highlights out; an enhanced transcript has no part in it."""
    app, lines = service(stack, tmp_path), talk(lines=2)
    media = media_of(app, record(tmp_path / "talk.wav", lines), lines[-1].end + 1, profile="music")
    request = RerunRequested(media_id=media.media_id, service="highlights")
    speaker = SpeakerSummary(speaker_id=uuid7(), label="S1", seconds=6.4)
    spoken = [line.model_copy(update={"speaker": "S1"}) for line in lines]
    v1 = transcribed(app, media, lines)
    v4, enhanced = (
        transcribed(app, media, spoken, level="v4", version=version).model_copy(
            update={"parent_result_id": parent, "meeting_id": uuid7(), "speakers": [speaker]}
        )
        for version, parent in ((2, v1.result_id), (4, uuid7()))
    )
    async with running(app):
        sent = [
            await stack.publish(event, correlation_id=correlation_id)
            for event in (ready(media), v1, v4, enhanced)
        ]
        await wait_until_consumed(app.database, *sent)
        for count in (1, 2):
            await stack.publish(request, correlation_id=correlation_id)
            events = await stack.collect(
                lambda events, count=count: len(highlights_of(events, media, "speakers")) == count,
                correlation_id=correlation_id,
            )
    found = highlights_of(events, media, "speakers")
    assert [each.aggregateversion for each in found] == [3, 5]
    assert [[s.speaker_ids for s in each.data.segments] for each in found] == [[[speaker.speaker_id]]] * 2
