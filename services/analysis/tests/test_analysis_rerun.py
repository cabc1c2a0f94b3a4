"""Running the analysis again on real servers."""

from pathlib import Path

import numpy as np
from tests.support.scratch import wait_until_consumed
from tests.support.stack import Stack

from phonograph_events import JobFailed, MusicAnalyzed, RerunRequested

from .test_analysis_service import RATE_HZ, groove, media_ready, of_type, rows, service, write


async def test_each_request_makes_one_version(stack: Stack, tmp_path: Path, correlation_id: str) -> None:
    """The older analysis and its document stay, also of a recording whose profile has no music (T1-14)."""
    event = media_ready(write(tmp_path / "groove.wav", groove()), profile="speech")
    silent = media_ready(write(tmp_path / "silence.wav", np.zeros(RATE_HZ)))
    request = RerunRequested(media_id=event.media_id, service="analysis")
    async with service(stack, tmp_path) as app:
        ingested = await stack.publish(event, correlation_id=correlation_id)
        await wait_until_consumed(app.database, ingested)
        sent = await stack.publish(request, correlation_id=correlation_id)
        await stack.send(sent.to_record())
        await stack.publish(request, correlation_id=correlation_id)
        await stack.publish(request.model_copy(update={"model": "x"}), correlation_id=correlation_id)
        await stack.publish(silent, correlation_id=correlation_id)
        events = await stack.collect(
            lambda found: len(of_type(MusicAnalyzed, found)) == 3 and len(of_type(JobFailed, found)) == 1,
            correlation_id=correlation_id,
        )
        results = [e for e in of_type(MusicAnalyzed, events) if e.data.media_id == event.media_id]
        for result in results:
            assert await app.objects.get_async(result.data.document_uri)
    assert sorted(result.aggregateversion for result in results) == [1, 2]
    assert {result.data.bpm for result in results} == {results[0].data.bpm}
    stored = await rows(
        stack,
        "SELECT version, model_config ->> 'model' = algorithm_build FROM analysis_results"
        " JOIN analysis_jobs ON analysis_jobs.id = job_id WHERE analysis_results.media_file_id = :id"
        " ORDER BY version",
        id=event.media_id,
    )
    assert [tuple(row) for row in stored] == [(1, True), (2, True)]
    (refused,) = of_type(JobFailed, events)
    assert (refused.data.reason, "has none" in refused.data.message) == ("bad_options", True)
