"""Transcripts of any recogniser become utterances with a time for every word."""

import pytest

from phonograph_events.documents import TranscriptDocument, TranscriptSegment, Word
from phonograph_highlights.domain.speech import MAX_WORDS, span, speech_s, utterances


def transcript(*segments: TranscriptSegment) -> TranscriptDocument:
    return TranscriptDocument(
        pipeline_version="v1", engine="test", model="test", language="en", text="", segments=list(segments)
    )


def words(*given: tuple[str, float | None, float | None]) -> list[Word]:
    return [Word(word=word, start=start, end=end, confidence=None) for word, start, end in given]


def test_a_full_stop_and_a_pause_end_an_utterance() -> None:
    said = words(
        ("Hello", 0, 0.4), ("there.", 0.5, 0.9), ("We", 1, 1.2), ("begin", 1.2, 1.6), ("now", 4, 4.4)
    )
    found = utterances(transcript(TranscriptSegment(start=0, end=5, text="", words=said)))

    assert [utterance.text for utterance in found] == ["Hello there.", "We begin", "now"]
    assert speech_s(found) == pytest.approx(0.9 + 0.6 + 0.4)
    assert (span(found).start_s, span(found).end_s) == (0, 4.4)


def test_words_without_times_share_the_time_of_their_segment() -> None:
    found = utterances(transcript(TranscriptSegment(start=10, end=14, text="aa bb cccc")))

    assert [(word.start_s, word.end_s) for word in found[0].words] == [(10, 11), (11, 12), (12, 14)]


def test_a_number_that_the_recogniser_did_not_time_stays_between_its_neighbours() -> None:
    said = words(("in", 5, 5.2), ("1984", None, None), ("it", 6, 6.2))
    found = utterances(transcript(TranscriptSegment(start=5, end=6.2, text="", words=said)))

    starts = [word.start_s for word in found[0].words]
    assert starts == sorted(starts)
    assert all(word.end_s >= word.start_s for word in found[0].words)


def test_a_segment_of_minutes_is_split_at_its_longest_pauses() -> None:
    said = words(*((f"w{i}", i * 0.5 + (0.3 if i >= 60 else 0), i * 0.5 + 0.4) for i in range(100)))
    found = utterances(transcript(TranscriptSegment(start=0, end=60, text="", words=said)))

    assert max(len(utterance.words) for utterance in found) <= MAX_WORDS
    assert any(utterance.words[0].text == "w60" for utterance in found)
    assert [word.text for utterance in found for word in utterance.words] == [f"w{i}" for i in range(100)]


def test_scripts_without_spaces_are_joined_without_spaces() -> None:
    said = words(("機械", 0, 1), ("学習", 1, 2), ("AI", 2, 3))
    found = utterances(transcript(TranscriptSegment(start=0, end=3, text="", words=said)))

    assert found[0].text == "機械学習 AI"


def test_nothing_said_gives_no_utterance() -> None:
    assert utterances(transcript()) == []
    assert utterances(transcript(TranscriptSegment(start=0, end=3, text="  "))) == []
    assert speech_s([]) == 0


def test_overlapping_speech_counts_once() -> None:
    found = utterances(
        transcript(
            TranscriptSegment(start=0, end=10, text="one two"),
            TranscriptSegment(start=5, end=12, text="three four"),
        )
    )
    assert speech_s(found) == pytest.approx(12)
