"""Transcripts of any recognizer become utterances with a time for every word."""

import pytest

from phonograph_events.documents import TranscriptDocument, TranscriptSegment, Word
from phonograph_highlights.domain.speech import MAX_WORDS, span_of, speech_duration_s, split_into_utterances


def transcript(*segments: TranscriptSegment) -> TranscriptDocument:
    return TranscriptDocument(
        pipeline_version="v1", engine="test", model="test", language="en", text="", segments=list(segments)
    )


def words(*timed: tuple[str, float | None, float | None]) -> list[Word]:
    return [Word(word=word, start=start, end=end, confidence=None) for word, start, end in timed]


def test_a_full_stop_and_a_pause_end_an_utterance() -> None:
    spoken = words(
        ("Hello", 0, 0.4), ("there.", 0.5, 0.9), ("We", 1, 1.2), ("begin", 1.2, 1.6), ("now", 4, 4.4)
    )
    utterances = split_into_utterances(transcript(TranscriptSegment(start=0, end=5, text="", words=spoken)))

    assert [utterance.text for utterance in utterances] == ["Hello there.", "We begin", "now"]
    assert speech_duration_s(utterances) == pytest.approx(0.9 + 0.6 + 0.4)
    assert (span_of(utterances).start_s, span_of(utterances).end_s) == (0, 4.4)


def test_words_without_times_share_the_time_of_their_segment() -> None:
    utterances = split_into_utterances(transcript(TranscriptSegment(start=10, end=14, text="aa bb cccc")))

    assert [(word.start_s, word.end_s) for word in utterances[0].words] == [(10, 11), (11, 12), (12, 14)]


def test_a_word_without_times_stays_between_its_neighbors() -> None:
    spoken = words(("in", 5, 5.2), ("1984", None, None), ("it", 6, 6.2))
    utterances = split_into_utterances(transcript(TranscriptSegment(start=5, end=6.2, text="", words=spoken)))

    starts = [word.start_s for word in utterances[0].words]
    assert starts == sorted(starts)
    assert all(word.end_s >= word.start_s for word in utterances[0].words)


def test_a_segment_of_minutes_is_split_at_its_longest_pauses() -> None:
    spoken = words(*((f"w{i}", i * 0.5 + (0.3 if i >= 60 else 0), i * 0.5 + 0.4) for i in range(100)))
    utterances = split_into_utterances(transcript(TranscriptSegment(start=0, end=60, text="", words=spoken)))

    assert max(len(utterance.words) for utterance in utterances) <= MAX_WORDS
    assert any(utterance.words[0].text == "w60" for utterance in utterances)
    assert [word.text for utterance in utterances for word in utterance.words] == [
        f"w{i}" for i in range(100)
    ]


def test_scripts_without_spaces_are_joined_without_spaces() -> None:
    spoken = words(("機械", 0, 1), ("学習", 1, 2), ("AI", 2, 3))
    utterances = split_into_utterances(transcript(TranscriptSegment(start=0, end=3, text="", words=spoken)))

    assert utterances[0].text == "機械学習 AI"


def test_a_transcript_without_words_has_no_utterances() -> None:
    assert split_into_utterances(transcript()) == []
    assert split_into_utterances(transcript(TranscriptSegment(start=0, end=3, text="  "))) == []
    assert speech_duration_s([]) == 0


def test_overlapping_speech_counts_once() -> None:
    utterances = split_into_utterances(
        transcript(
            TranscriptSegment(start=0, end=10, text="one two"),
            TranscriptSegment(start=5, end=12, text="three four"),
        )
    )
    assert speech_duration_s(utterances) == pytest.approx(12)
