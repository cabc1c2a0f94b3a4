"""The transcript itself: text, confidence, bounded words, loops, and its public shape."""

import pytest

from phonograph_events import PipelineVersion
from phonograph_transcription.domain.documents import from_document, to_document
from phonograph_transcription.domain.repetition import without_loops
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    bounded,
    mean_confidence,
)


def test_no_word_is_longer_than_three_seconds_or_leaves_the_recording():
    assert bounded(Word("so", 1, 9, None), duration_s=20).end_s == 4
    assert bounded(Word("end", 19.5, 21, None), duration_s=20).end_s == 20
    assert bounded(Word("odd", 5, 4, None), duration_s=20) == Word("odd", 5, 5, None)
    assert bounded(Word("seven", None, None, 0.5), duration_s=20) == Word("seven", None, None, 0.5)


def test_confidence_is_weighted_by_length_and_null_when_unknown():
    segments = (Segment(0, 1, "a", confidence=1.0), Segment(1, 4, "b", confidence=0.2), Segment(4, 9, "c"))
    assert Transcript("e", "m", None, None, segments).confidence == pytest.approx(0.4)
    assert Transcript("e", "m", None, None).confidence is None
    assert mean_confidence([Word("a", 0, 1, None), Word("b", 1, 2, 0.4)]) == 0.4
    assert mean_confidence([]) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thank you. " * 6, "thank you."),
        ("no, " * 5 + "I said", "no, no, no, no, no, I said"),
        ("la " * 20 + "and then", "la and then"),
        ("we go up and down and up and down and on", "we go up and down and up and down and on"),
        ("start " + "so this is it " * 4 + "end", "start so this is it end"),
        ("", ""),
    ],
)
def test_loops_are_left_out_and_emphasis_stays(text, expected):
    words = text.split()
    assert " ".join(words[number] for number in without_loops(words)) == expected


def test_the_document_has_the_public_shape_and_comes_back():
    transcript = Transcript(
        "engine",
        "model",
        "en",
        0.75,
        (
            Segment(0.5, 2, "Hello you", (Word("Hello", 0.5, 1, 0.9, "A"), Word("you", None, None, None))),
            Segment(2, 3, "Yes", confidence=0.5, speaker="B"),
        ),
        (TranscriptWarning(WarningCode.REPETITION, "A loop.", 1),),
    )
    document = to_document(transcript, PipelineVersion.V4)
    shape = document.model_dump()
    assert list(shape) == ["pipeline_version", "engine", "model", "language", "text", "warnings", "segments"]
    assert shape["text"] == "Hello you\nYes"
    assert shape["segments"][0]["words"][0] == {
        "word": "Hello",
        "start": 0.5,
        "end": 1,
        "confidence": 0.9,
        "speaker": "A",
    }
    assert shape["warnings"] == [{"code": "repetition", "message": "A loop.", "segment": 1}]
    assert from_document(document, language_probability=0.75) == transcript
