"""Running again through the command line: versions, their history, and what follows from them."""

import wave
from pathlib import Path

import pytest
from tests.support.system import SAMPLES, System

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition


@pytest.fixture(scope="module")
def talk(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds of speech, ingested."""
    folder = tmp_path_factory.mktemp("rerun")
    path = folder / "short talk.wav"
    make_rendition(SAMPLES / "talk.ogg", folder / "rendition.wav")
    samples = read_rendition(folder / "rendition.wav")[: 9 * SAMPLE_RATE_HZ]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    assert system.ingest(path, profile="meeting")[str(path)]["status"] == "ready"
    return path


@pytest.mark.timeout(600)
def test_one_command_makes_a_new_version_of_a_transcript_and_of_what_follows(
    system: System, talk: Path
) -> None:
    """The older transcript can be read and exported; jobs and graph agree with the services (T1-14)."""
    before = system.show(talk)
    cost = system("rerun", "--where", "kind=audio", "--service", "transcription", "--dry-run", "--json")
    assert talk.name in [each["file_name"] for each in cost.json["recordings"]]
    assert cost.json["estimated_s"] > 0

    options = ("--preset", "fast", "--reason", "Faster.")
    done = system("rerun", talk, "--service", "transcription", *options, "--wait", "--json")
    assert (done.code, len(done.json)) == (0, 1), done.err
    states = {service: mark["status"] for service, mark in done.json[0]["services"].items()}
    assert states == {"transcription": "done", "highlights": "done"}

    history = system("history", talk, "--json").json["versions"]
    found = [(e["service"], e["version"], e["level"], e["parent"], e["current"]) for e in history]
    assert found == [
        ("transcription", 1, "v1", None, False),
        ("transcription", 2, "v4", 1, False),
        ("transcription", 3, "v1", None, False),
        ("transcription", 4, "v4", 3, True),
        ("diarization", 1, None, None, True),
        ("highlights", 1, "silence", None, False),
        ("highlights", 2, "segments", None, False),
        ("highlights", 3, "speakers", None, False),
        ("highlights", 4, "segments", None, False),
        ("highlights", 5, "speakers", None, True),
    ]
    assert [entry["request_reason"] for entry in history] == [
        None,
        None,
        "Faster.",
        "Faster.",
        *[None] * 4,
        "Faster.",
        "Faster.",
    ]
    (job,) = (entry for entry in history if (entry["service"], entry["version"]) == ("transcription", 3))
    shown = system("jobs", "show", job["job_id"])
    for fact in ("preset=fast", f"engine={job['engine']}", f"model={job['model']}", "device=cpu"):
        assert fact in shown.out

    first = system("show", talk, "--version", "1", "--json").json
    assert (first["transcript"]["pipeline_version"], first["media"]) == ("v1", before["media"])
    second = system("show", talk, "--version", "2", "--json").json
    assert second["transcript"] == before["transcript"]
    exported = system("export", talk, "--format", "txt", "--version", "1")
    assert exported.out.split() == first["transcript"]["text"].split()
    assert system("show", talk, "--version", "9").code == 1


@pytest.mark.timeout(600)
def test_request_that_cannot_be_met_ends_with_one_sentence(system: System, talk: Path) -> None:
    missing = system("rerun", talk, "--service", "transcription", "--model", "no-such-model", "--wait")
    assert (missing.code, "phonograph models fetch no-such-model" in missing.out) == (1, True), missing
    unsupported = system("rerun", talk, "--service", "analysis", "--speakers", "2", "--wait")
    assert (unsupported.code, "analysis failed (bad_options)" in unsupported.out) == (1, True), unsupported
    again = system("rerun", talk, "--service", "diarization", "--speakers", "1", "--wait")
    assert again.code == 0, again
    assert system.show(talk)["speakers"]["count"] == 1
    checked = system("graph", "check", "--json")
    assert (checked.code, checked.json["differences"]) == (0, []), checked.err
