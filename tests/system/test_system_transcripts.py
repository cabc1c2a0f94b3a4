"""A transcript of the running system is searched, exported, scored and enhanced by commands."""

import time
from pathlib import Path
from typing import Any

from tests.support.system import SAMPLES, System

from phonograph_runtime.objects import ObjectStore

TALK = SAMPLES / "talk.ogg"


def shown(system: System, **expected: Any) -> Any:
    """Return the talk as `show` shows it, once its accuracy and transcript have the expected values."""
    deadline = time.monotonic() + 30
    while True:
        recording = system.show(TALK)
        found = (recording["accuracy"] or {}) | recording["transcript"]
        if all(found[name] == value for name, value in expected.items()):
            return recording
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_a_transcript_is_searched_exported_scored_and_enhanced(
    system: System, ingested_samples: dict[str, Any], tmp_path: Path
) -> None:
    assert "talk.ogg" in ingested_samples
    recording = system.show(TALK)
    transcript = recording["transcript"]

    word = max(transcript["text"].split(), key=len)
    found = system("search", word, "--json").json
    assert recording["media"]["media_id"] in {match["media_id"] for match in found["matches"]}
    assert "talk.ogg" in system("search", word).out

    stored = system("export", TALK, "--format", "srt", "--store")
    assert stored.code == 0, stored.err
    text = ObjectStore(system.project.object_store_url).get(stored.out.strip()).decode()
    assert text == system("export", TALK, "--format", "srt").out
    refused = system("export", TALK, "--format", "cue", "--store")
    assert (refused.code, refused.out) == (1, "")
    assert "no format 'cue'" in refused.err

    (tmp_path / "talk.txt").write_text(transcript["text"])
    scored = system("score", TALK, tmp_path / "talk.txt", "--json")
    assert (scored.code, scored.json["accuracy"]) == (0, 1.0), scored.err
    shown(system, accuracy=1.0, accuracy_source="talk.txt")
    assert "100.0% of the words are right, compared with talk.txt" in system("show", TALK).out

    enhanced = system("enhance", TALK, "--fillers", "all")
    assert enhanced.code == 0, enhanced.err
    assert enhanced.out.startswith("Version 3: ")
    # The accuracy is that of one version: the enhanced one was not compared with a text.
    after = shown(system, accuracy=None, pipeline_version="v4")
    assert after["transcript"]["segments"][0]["text"][0].isupper()
