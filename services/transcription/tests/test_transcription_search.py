"""Search over everything said: stored transcripts are found by `phonograph search` on a real database."""

import asyncio

import pytest
from tests.support.stack import ROOT
from tests.support.system import run_command
from tests.support.transcripts import Archive, media_ref

from phonograph_events import Service
from phonograph_runtime import migrations
from phonograph_transcription.domain.transcript import Segment


class Library:
    """Stores transcripts as the service does, and searches them as a person does."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.stack = archive.stack

    async def add(self, *said, language="en", name="talk.wav", owner=None, media=None, parent=None):
        """Store a transcript with a segment for each text, or pair of speaker and text, and return it."""
        media = media or media_ref(name, owner)
        pairs = [(None, each) if isinstance(each, str) else each for each in said]
        segments = (
            Segment(5.0 * number, 5.0 * number + 4, spoken, confidence=0.5 + number / 10, speaker=speaker)
            for number, (speaker, spoken) in enumerate(pairs)
        )
        return media, await self.archive.add(media, *segments, language=language, parent=parent)

    async def search(self, *arguments: str):
        answer = await run_command(self.stack.project, "search", "--json", *arguments)
        assert answer.code == 0, answer.err
        return answer.json

    async def passages(self, *arguments: str):
        return [match["passage"] for match in (await self.search(*arguments))["matches"]]


@pytest.fixture
async def library(stack, tmp_path, correlation_id):
    archive = Archive(stack, tmp_path, correlation_id)
    yield Library(archive)
    for table in ("transcription_results", "transcript_halves", "transcript_words"):
        await archive.execute(f"DELETE FROM {table}")


async def test_words_are_found_in_all_their_forms_with_file_time_and_speaker(library):
    """Shows T1-18."""
    media, _ = await library.add(
        ("Ann", "Good morning."), ("Bob", "The stones were running."), name="hills [1].wav"
    )
    found = await library.search("stone run")
    assert found["similar"] is False
    (match,) = found["matches"]
    assert match == {
        "media_id": str(media.media_id),
        "file_name": "hills [1].wav",
        "pipeline_version": "v1",
        "version": 1,
        "start": 5.0,
        "end": 9.0,
        "speaker": "Bob",
        "language": "en",
        "confidence": 0.6,
        "passage": "The stones were running.",
        "marks": [[4, 10], [16, 23]],
    }
    answer = await run_command(library.stack.project, "search", "stone run")
    assert answer.out == "hills [1].wav 0:05 Bob: The **stones** were **running**.\n"


async def test_a_phrase_is_found_with_its_frequent_words_and_in_its_order(library):
    await library.add("To be or not to be.", "Be it not or to.")
    assert await library.passages('"to be or not to be"') == ["To be or not to be."]
    assert len(await library.passages("not be")) == 2
    assert await library.passages("be -it") == ["To be or not to be."]
    assert await library.passages("nothing or that") == []


@pytest.mark.parametrize(
    ("language", "spoken", "words"),
    [
        ("de", "Die Äpfel sind gefallen.", "äpfel"),
        ("de", "Wir gehen durch die Häuser.", "Haus"),
        ("ru", "Большие книги на столе.", "книга"),
        ("fr", "Nous mangeons des pommes.", "pomme manger"),
        ("pl", "Dzień dobry, Żółw.", "żółw"),
        (None, "Words of an unknown language.", "unknown"),
        ("ja", "昨日東京タワーに行きました。", "東京タワー"),
    ],
)
async def test_words_are_found_by_the_rules_of_the_language_that_is_spoken(library, language, spoken, words):
    await library.add(spoken, language=language)
    assert await library.passages(words) == [spoken]


async def test_characters_of_scripts_without_spaces_are_found_in_their_order_only(library):
    await library.add("京東は会社です。", "東京です。", language="ja")
    found = await library.search("東京")
    assert [(each["passage"], each["marks"]) for each in found["matches"]] == [("東京です。", [[0, 2]])]


async def test_a_mistyped_name_finds_the_similar_one_and_says_so(library):
    await library.add("We thanked Kowalczyk for the minutes.", "Something else.")
    found = await library.search("Kowalczik")
    assert found["similar"] is True
    assert [each["passage"] for each in found["matches"]] == ["We thanked Kowalczyk for the minutes."]
    answer = await run_command(library.stack.project, "search", "Kowalczik")
    assert answer.err == "No passage has Kowalczik; these have similar words.\n"
    nothing = await run_command(library.stack.project, "search", "xyzzyqwv")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "No passage is found.\n")


async def test_only_the_current_version_of_a_recording_is_searched(library):
    media, first = await library.add("The harbour was closed.")
    await library.add(("Ann", "The harbour was closed."), media=media, parent=first)
    assert [m["version"] for m in (await library.search("harbour"))["matches"]] == [2]
    every = await library.search("harbour", "--all-versions")
    assert sorted(m["version"] for m in every["matches"]) == [1, 2]


async def test_filters_select_owner_language_speaker_time_and_number(library):
    await library.add(("Ann", "A lighthouse."), ("Bob", "That lighthouse."), owner="radio", name="a.wav")
    await library.add("Der lighthouse.", language="de", owner="archive", name="b.wav")
    names = {
        ("--owner", "radio"): {"a.wav"},
        ("--language", "de"): {"b.wav"},
        ("--speaker", "Bob"): {"a.wav"},
        ("--since", "2020-01-01"): {"a.wav", "b.wav"},
        ("--since", "2999-01-01T08:00"): set(),
        ("--owner", "unknown"): set(),
    }
    for option, expected in names.items():
        found = await library.search("lighthouse", *option)
        assert {match["file_name"] for match in found["matches"]} == expected, option
    assert len(await library.passages("lighthouse", "--limit", "2")) == 2


async def test_segments_above_a_confidence_are_listed(library):
    """Shows T1-19."""
    await library.add("At 0.5.", "At 0.6.", "At 0.7.")
    assert sorted(await library.passages("--min-confidence", "0.6")) == ["At 0.6.", "At 0.7."]
    assert await library.passages("at", "--min-confidence", "0.65") == ["At 0.7."]


@pytest.mark.parametrize("arguments", [[], [" "], ["x", "--since", "soon"], ["x", "--min-confidence", "2"]])
async def test_a_search_for_nothing_or_with_a_wrong_option_is_wrong_usage(stack, arguments):
    answer = await run_command(stack.project, "search", *arguments)
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize("words", ["'", '"', "a & | !", "\\", "-", "%_", "x:*", "🙂", "(", "a" * 5000])
async def test_no_words_break_the_search(library, words):
    await library.add("An ordinary sentence.")
    await library.search("--", words)


async def test_a_changed_transcript_is_found_by_its_new_words_only(library):
    _, result = await library.add("An old expression.")
    segment = '[{"start": 1, "end": 2, "text": "A new formulation.", "language": "en"}]'
    await library.archive.execute(
        "UPDATE transcription_results SET segments = CAST(:new AS jsonb) WHERE id = :id",
        new=segment,
        id=result,
    )
    assert await library.passages("expression") == []
    assert await library.passages("formulation") == ["A new formulation."]


async def test_transcripts_from_before_the_search_are_found_after_the_migration(library):
    await library.add("A forgotten cathedral.")
    for table in ("transcript_segments", "transcript_words"):
        await library.archive.execute(f"DELETE FROM {table}")
    assert await library.passages("cathedral") == []
    url, folder = library.stack.database_url(Service.TRANSCRIPTION), ROOT / "migrations" / "transcription"
    await asyncio.to_thread(migrations.downgrade, url, folder, "0007")
    await asyncio.to_thread(migrations.upgrade, url, folder)
    assert await library.passages("cathedrals") == ["A forgotten cathedral."]
    assert (await library.search("cathedrel"))["similar"]
