"""Turns, RTTM, bounds and voices."""

from uuid import uuid4

import numpy as np
import pytest

from phonograph_diarization.domain.diarization import (
    SpeakerBounds,
    SpeakerVoice,
    Turn,
    Voiceprint,
    build_diarization,
    close_gaps,
)
from phonograph_diarization.domain.rttm import to_rttm
from phonograph_diarization.domain.voices import (
    KnownVoice,
    cosine_similarity,
    decode_vector,
    encode_vector,
    match_voices,
)
from phonograph_diarization.exceptions import BadOptionsError

from .support.rttm import from_rttm


def test_speakers_are_labeled_in_order_of_appearance():
    print_b = Voiceprint("m", np.ones(3, np.float32))
    result = build_diarization(
        [Turn(4, 6, "b"), Turn(0, 1, "x"), Turn(1, 3, "b"), Turn(7, 7, "empty")],
        {"b": print_b},
        engine="e",
        model="m",
    )
    assert result.turns == (Turn(0, 1, "S1"), Turn(1, 3, "S2"), Turn(4, 6, "S2"))
    assert [(voice.label, voice.speech_s, voice.voiceprint) for voice in result.voices] == [
        ("S1", 1, None),
        ("S2", 4, print_b),
    ]
    assert result.reason is None


def test_a_result_without_turns_has_a_reason():
    result = build_diarization([], {}, engine="e", model="m")
    assert (result.turns, result.voices, result.reason) == ((), (), "no_speech")


def test_only_gaps_within_one_speaker_are_closed():
    turns = [Turn(0, 1, "a"), Turn(1.2, 2, "a"), Turn(2.1, 3, "b"), Turn(3.1, 4, "a"), Turn(5, 6, "a")]
    assert close_gaps(turns, max_gap_s=0.3) == [
        Turn(0, 2, "a"),
        Turn(2.1, 3, "b"),
        Turn(3.1, 4, "a"),
        Turn(5, 6, "a"),
    ]


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ((None, None, None), (1, None)),
        ((2, None, None), (2, 2)),
        ((None, 2, 5), (2, 5)),
        ((None, None, 3), (1, 3)),
        ((3, 2, 5), (3, 3)),
    ],
)
def test_options_are_converted_to_bounds(options, bounds):
    created = SpeakerBounds.from_options(*options)
    assert (created.minimum, created.maximum) == bounds


@pytest.mark.parametrize("options", [(None, 3, 2), (1, 2, 3), (4, None, 3), (0, None, None)])
def test_contradicting_options_are_rejected(options):
    with pytest.raises(BadOptionsError) as error:
        SpeakerBounds.from_options(*options)
    assert error.value.reason == "bad_options"


def test_rttm_can_be_read_back():
    turns = [Turn(0.5, 1.25, "S1"), Turn(1.25, 3.0, "S2")]
    text = to_rttm(turns, "team meeting")
    assert text.splitlines()[0] == "SPEAKER team_meeting 1 0.500 0.750 <NA> <NA> S1 <NA> <NA>"
    assert from_rttm(text) == {"team_meeting": turns}


def test_reading_rttm_skips_other_lines_and_names_a_bad_one():
    assert from_rttm(";; a comment\nSPKR-INFO x 1 <NA>\n\n") == {}
    with pytest.raises(ValueError, match="Line 2"):
        from_rttm("SPEAKER a 1 0 1 <NA> <NA> S1\nSPEAKER a 1 soon 1 <NA> <NA> S1\n")


def test_voiceprints_can_be_encoded_as_text_and_decoded():
    """Voiceprints are base64 of little-endian float32 (C-24)."""
    vector = np.array([0.5, -1.25, 3e-7], np.float32)
    assert encode_vector(np.array([1.0], np.float32)) == "AACAPw=="
    assert np.array_equal(decode_vector(encode_vector(vector)), vector)
    with pytest.raises(ValueError, match="base64"):
        decode_vector("not base64!")


def test_cosine_of_a_zero_vector_is_zero():
    assert cosine_similarity(np.zeros(2, np.float32), np.ones(2, np.float32)) == 0
    assert cosine_similarity(np.ones(2, np.float32), np.ones(2, np.float32)) == pytest.approx(1)


def test_a_known_voice_is_recognized_once_and_only_with_its_own_model():
    """Speakers match by cosine similarity, the best pair first; the rest has no match (M-13)."""

    def speaker(label, *vector, model="m"):
        return SpeakerVoice(label, 1.0, Voiceprint(model, np.array(vector, np.float32)))

    ann, bob = uuid4(), uuid4()
    known = [
        KnownVoice(ann, Voiceprint("m", np.array([1, 0], np.float32))),
        KnownVoice(bob, Voiceprint("m", np.array([0, 1], np.float32))),
        KnownVoice(bob, Voiceprint("other", np.array([1, 0], np.float32))),
    ]
    matches = match_voices(
        [
            speaker("S1", 0.9, 0.2),
            speaker("S2", 1, 0.01),
            speaker("S3", -1, -1),
            speaker("S4", 0, 1, model="third"),
            speaker("S5", 0, 1, 0),
            SpeakerVoice("S6", 0.2, None),
        ],
        known,
        threshold=0.8,
    )
    assert {label: match.user_profile_id for label, match in matches.items()} == {"S2": ann}
    assert matches["S2"].confidence == pytest.approx(1, abs=1e-3)
