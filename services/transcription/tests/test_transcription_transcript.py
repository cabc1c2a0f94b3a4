"""Transcripts: text, confidence, times of words, loops, and the public document."""

import pytest

from phonograph_events import PipelineVersion
from phonograph_transcription.domain.documents import from_document, to_document
from phonograph_transcription.domain.repetition import find_unrepeated_words
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    clip_word,
    mean_confidence,
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
def test_loops_are_dropped_and_emphasis_is_kept(text, expected):
    words = text.split()
    assert " ".join(words[number] for number in find_unrepeated_words(words)) == expected


def test_a_transcript_can_be_restored_from_its_public_document():
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
