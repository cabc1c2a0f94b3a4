"""Searching for the tracklist again on real servers."""

from pathlib import Path
from typing import Any

from tests.support.stack import Stack, running

from phonograph_events import RerunRequested, Service, TracklistCompleted
from phonograph_runtime.app import ServiceApp
from phonograph_tracklist.config import Settings
from phonograph_tracklist.main import create_app

from .test_tracklist_service import CUE, media, ready, select

TRACKLISTS = (
    "SELECT version, is_current, tracks -> 0 ->> 'title' FROM tracklists WHERE recording_id = :id"
    " ORDER BY version"
)


async def test_another_cue_sheet_makes_another_tracklist(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """Of several tracklists of a recording one is current, or none once the cue sheet is gone (C-41)."""
    recording = media(tmp_path / "two hours.mp3")
    cue = tmp_path / "two hours.cue"
    cue.write_text(CUE)
    app = create_app(Settings(**stack.settings(Service.TRACKLIST, tmp_path)))

    async def wait_for(app: ServiceApp, count: int) -> tuple[list[Any], list[tuple[Any, ...]]]:
        found = await stack.collect(
            lambda events: sum(isinstance(event.data, TracklistCompleted) for event in events) == count,
            correlation_id=correlation_id,
        )
        results = [event for event in found if isinstance(event.data, TracklistCompleted)]
        return results, await select(app, TRACKLISTS, id=recording.media_id)

    async with running(app):
        await stack.publish(ready(recording, tags={"artist": ["DJ"]}), correlation_id=correlation_id)
        _, first = await wait_for(app, 1)
        request = RerunRequested(media_id=recording.media_id, service="tracklist")
        cue.write_text(CUE.replace("First", "Corrected"))
        sent = await stack.publish(request, correlation_id=correlation_id)
        await stack.send(sent.to_record())
        _, second = await wait_for(app, 2)
        cue.unlink()
        await stack.publish(request, correlation_id=correlation_id)
        results, third = await wait_for(app, 3)

    assert first == [(1, True, "First")]
    assert second == [(1, False, "First"), (2, True, "Corrected")]
    assert third == [(1, False, "First"), (2, False, "Corrected")]
    assert [result.aggregateversion for result in results] == [1, 2, 3]
    assert [result.data.track_count for result in results] == [2, 2, 0]
    assert [entry.value for entry in results[2].data.metadata] == ["DJ"]
