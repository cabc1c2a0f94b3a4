"""Scores against a reference text: error rates, the stored accuracy, and the event that announces it."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.system import run_command
from tests.support.transcripts import Archive, media_ref

from phonograph_events import ScoreCompleted, ScoreRequested
from phonograph_transcription.domain.scoring import compare, split_words
from phonograph_transcription.domain.transcript import Segment

WORDS = st.lists(st.sampled_from(["a", "bee", "sea", "dee"]), max_size=12).map(" ".join)


@given(WORDS.filter(bool), WORDS)
def test_error_rates_are_those_of_another_library(reference, transcript):
    rates = compare(reference, transcript)
    assert rates.word_error_rate == pytest.approx(jiwer.wer(reference, transcript or " "))
    spaceless = reference.replace(" ", ""), transcript.replace(" ", "") or " "
    if spaceless[1] != " ":
        assert rates.character_error_rate == pytest.approx(jiwer.cer(*spaceless))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don\u2019t STOP, \u201cever\u201d!", ["don't", "stop", "ever"]),
        ("Straße 12.5", ["strasse", "12", "5"]),
        ("東京 tower", ["東", "京", "tower"]),
        ("e\u0301tude ≠ etude", ["étude", "etude"]),
        (" -- … ", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text, words):
    assert split_words(text) == words


def test_an_accuracy_is_never_negative_and_a_reference_needs_words():
    rates = compare("one", "not that one but others")
    assert (rates.word_error_rate, rates.accuracy) == (4.0, 0.0)
    assert compare("...", "words") is None
    assert compare("one", "").word_error_rate == 1.0


@pytest.fixture
def archive(stack, tmp_path, correlation_id):
    return Archive(stack, tmp_path, correlation_id)


async def test_a_score_is_stored_as_the_accuracy_of_the_current_version_with_its_source(archive):
    """Shows C-51."""
    media = media_ref()
    first = await archive.add(media, Segment(0, 1, "Ask what your country.", confidence=0.8))
    second = await archive.add(media, Segment(0, 1, "Ask not what your county.", confidence=0.8))
    reference = "ask NOT what your country!"
    requests = [
        ScoreRequested(media_id=media.media_id, reference=reference, source="speech.txt", **extra)
        for extra in ({}, {"result_id": first})
    ]
    newest, oldest = await archive.ask(ScoreCompleted, *requests)
    assert (newest.result_id, newest.version, newest.reference_words) == (second, 2, 5)
    assert (newest.word_error_rate, newest.accuracy) == (pytest.approx(0.2), pytest.approx(0.8))
    assert 0 < newest.character_error_rate < 0.1
    assert (oldest.result_id, oldest.accuracy) == (first, pytest.approx(0.8))
    stored = await archive.execute(
        "SELECT id, accuracy, accuracy_source, accuracy_estimate FROM transcription_results"
        " WHERE media_file_id = :id ORDER BY version",
        id=media.media_id,
    )
    assert [tuple(row) for row in stored] == [
        (first, pytest.approx(0.8), "speech.txt", pytest.approx(0.8)),
        (second, pytest.approx(0.8), "speech.txt", pytest.approx(0.8)),
    ]


async def test_a_score_that_is_not_possible_is_answered_with_its_reason(archive):
    media = media_ref()
    await archive.add(media, Segment(0, 1, "Words."))
    answers = await archive.ask(
        ScoreCompleted,
        ScoreRequested(media_id=media.media_id, reference=" ... ", source="empty.txt"),
        ScoreRequested(media_id=media_ref().media_id, reference="words", source="other.txt"),
    )
    assert {answer.source: answer.reason for answer in answers} == {
        "empty.txt": "empty_reference",
        "other.txt": "no_transcript",
    }


async def test_a_reference_that_is_no_text_is_wrong_usage(stack, tmp_path):
    (tmp_path / "sound.wav").write_bytes(b"RIFF\xff\xfe")
    (tmp_path / "long.txt").write_bytes(b"word " * 200_000)
    for name, message in {
        "sound.wav": "is no text in UTF-8",
        "long.txt": "is larger than",
        "none.txt": "cannot be read",
    }.items():
        answer = await run_command(stack.project, "score", "x", str(tmp_path / name))
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err
