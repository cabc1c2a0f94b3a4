"""Transcripts: text, confidence, times of words, loops, and the public document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_events import PipelineVersion
from phonograph_transcription.domain.documents import from_document, to_document
from phonograph_transcription.domain.repetition import find_loops
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    clip_word,
    mean_confidence,
    put_in_order,
)


def test_words_are_clipped_to_three_seconds_and_to_the_recording():
    assert clip_word(Word("so", 1, 9, None), duration_s=20).end_s == 4
    assert clip_word(Word("end", 19.5, 21, None), duration_s=20).end_s == 20
    assert clip_word(Word("odd", 5, 4, None), duration_s=20) == Word("odd", 5, 5, None)
    assert clip_word(Word("seven", None, None, 0.5), duration_s=20) == Word("seven", None, None, 0.5)


def test_confidence_is_weighted_by_length_and_none_if_unknown():
    segments = (Segment(0, 1, "a", confidence=1.0), Segment(1, 4, "b", confidence=0.2), Segment(4, 9, "c"))
    assert Transcript("e", "m", None, None, segments).confidence == pytest.approx(0.4)
    assert Transcript("e", "m", None, None).confidence is None
    assert mean_confidence([Word("a", 0, 1, None), Word("b", 1, 2, 0.4)]) == 0.4
    assert mean_confidence([]) is None


def without_loops(text: str, *, words_per_s: float) -> str:
    words = text.split()
    loops = find_loops(words, [number / words_per_s for number in range(len(words))])
    repeated = {number for loop in loops for number in range(loop.first_repeated, loop.end)}
    return " ".join(word for number, word in enumerate(words) if number not in repeated)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thank you. " * 6, "thank you."),
        ("no, " * 5 + "I said", "no, no, no, no, no, I said"),
        ("la " * 20 + "and then", "la and then"),
        ("we go up and down and up and down and on", "we go up and down and up and down and on"),
        ("start " + "so this is it " * 4 + "end", "start so this is it end"),
        ("", ""),
        ("mind the gap " * 3 + "please", "mind the gap mind the gap mind the gap please"),
    ],
)
def test_loops_are_dropped_and_emphasis_is_kept(text, expected):
    assert without_loops(text, words_per_s=2) == expected


def test_a_long_sentence_is_a_loop_only_if_it_is_faster_than_speech():
    sentence = "ask not what your country can do for you but ask what you can do for your country"
    text = " ".join([sentence] * 5)

    assert without_loops(text, words_per_s=3) == text
    assert without_loops(text, words_per_s=10) == sentence


def timed(*starts: float | None) -> tuple[Word, ...]:
    return tuple(Word(f"w{start}", start, None if start is None else start + 0.5, None) for start in starts)


def starts_of(segments: list[Segment]) -> list[float | None]:
    return [word.start_s for segment in segments for word in segment.words]


def test_times_never_run_backwards():
    segments = put_in_order(
        [
            Segment(0, 3, "", timed(0, 1, 2)),
            Segment(9, 4, "", timed(90, None, 4)),
            Segment(3.5, 3.5, "no words"),
            Segment(1, 7, "", timed(5, 1, 7)),
        ]
    )

    assert starts_of(segments) == [0, 1, 2, 3, None, 4, 5, 6, 7]
    assert [(segment.start_s, segment.end_s) for segment in segments] == [
        (0, 2.5),
        (3, 4.5),
        (4.5, 4.5),
        (5, 7.5),
    ]


def test_times_in_order_stay_as_they_are():
    segments = [Segment(0, 1.5, "a", timed(0, 1)), Segment(4, 5, "b"), Segment(7, 8.5, "c", timed(7, 8))]

    assert put_in_order(segments) == segments
    assert put_in_order([]) == []
    assert starts_of(put_in_order([Segment(0, 1, "", timed(None, None))])) == [None, None]


def spans_of(*spans: tuple[float, float]) -> list[tuple[float | None, float | None]]:
    """Return the times that words of these times have in a transcript."""
    words = tuple(Word("w", start, end, None) for start, end in spans)
    (segment,) = put_in_order([Segment(0, 9, "", words)])
    return [(word.start_s, word.end_s) for word in segment.words]


def test_words_of_no_length_take_time_where_there_is_some():
    assert spans_of((1, 2), (2, 2), (3, 4)) == [(1, 2), (2, 2.04), (3, 4)]
    assert spans_of((1, 2), (3, 3), (3, 4)) == [(1, 2), (2.96, 3), (3, 4)]
    # Without a gap on either side, longer words give some of their time.
    assert spans_of((1, 2), (2, 2), (2, 3)) == [(1, 2), (2, 2.04), (2.04, 3)]
    assert spans_of((1, 2), (2, 2)) == [(1, 1.96), (1.96, 2)]
    assert spans_of((1, 1.5), (2, 2), (2, 2), (2, 2)) == [(1, 1.5), (1.88, 1.92), (1.92, 1.96), (1.96, 2)]
    # Between words that have none themselves, there is no time.
    assert spans_of((2, 2), (2, 2.02)) == [(1.94, 1.98), (1.98, 2.02)]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), min_size=1, max_size=12))
def test_no_word_is_without_length_where_there_is_time(spans: list[tuple[int, int]]):
    found = spans_of(*((start / 100, (start + length) / 100) for start, length in sorted(spans)))
    borders = [time for span in found for time in span]
    assert borders == sorted(borders)
    for number, (start, end) in enumerate(found):
        before = found[number - 1][1] if number else 0.0
        after = found[number + 1][0] if number + 1 < len(found) else end
        if end - start < 0.001:
            assert after - end < 0.001
            assert start - before < 0.001


@given(st.lists(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=5), max_size=6))
def test_any_times_are_put_in_order(starts: list[list[float | None]]):
    given_segments = [
        Segment(min(known, default=50.0), max(known, default=20.0), "", timed(*row))
        for row in starts
        for known in [[start for start in row if start is not None]]
    ]
    segments = put_in_order(given_segments)

    assert [word.text for s in segments for word in s.words] == [
        w.text for s in given_segments for w in s.words
    ]
    borders = [time for segment in segments for time in (segment.start_s, segment.end_s)]
    assert borders == sorted(borders)
    times = [
        time
        for segment in segments
        for word in segment.words
        if word.start_s is not None
        for time in (word.start_s, word.end_s)
    ]
    assert times == sorted(times)


def test_a_transcript_can_be_restored_from_its_public_document():
    transcript = Transcript(
        "engine",
        "model",
        "en",
        0.75,
        (
            Segment(0.5, 2, "Hello you", (Word("Hello", 0.5, 1, 0.9, "A"), Word("you", None, None, None))),
            Segment(2, 3, "Yes", confidence=0.5, speaker="B", language="de"),
            Segment(3, 4, "100%", (Word("100", 3, 3.5, None), Word("%", 3.5, 4, None, is_spaced=False))),
        ),
        (TranscriptWarning(WarningCode.REPETITION, "A loop.", 1),),
    )
    document = to_document(transcript, PipelineVersion.V4)
    shape = document.model_dump()
    assert list(shape) == [
        "pipeline_version",
        "engine",
        "model",
        "language",
        "languages",
        "text",
        "warnings",
        "segments",
    ]
    assert shape["text"] == "Hello you\nYes\n100%"
    assert shape["languages"] == ["en", "de"]
    assert [segment["language"] for segment in shape["segments"]] == [None, "de", None]
    assert [word["is_spaced"] for word in shape["segments"][2]["words"]] == [None, False]
    assert shape["segments"][0]["words"][0] == {
        "word": "Hello",
        "start": 0.5,
        "end": 1,
        "confidence": 0.9,
        "speaker": "A",
        "is_spaced": None,
    }
    assert shape["warnings"] == [{"code": "repetition", "message": "A loop.", "segment": 1}]
    assert from_document(document, language_probability=0.75) == transcript
