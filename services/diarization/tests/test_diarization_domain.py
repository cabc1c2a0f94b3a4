"""Turns, RTTM, bounds and voices."""

from uuid import uuid4

import numpy as np
import pytest

from phonograph_diarization.domain.diarization import (
    SpeakerBounds,
    SpeakerVoice,
    Turn,
    Voiceprint,
    diarization,
    joined,
)
from phonograph_diarization.domain.rttm import from_rttm, to_rttm
from phonograph_diarization.domain.voices import (
    KnownVoice,
    cosine_similarity,
    decode_vector,
    encode_vector,
    match_voices,
)
from phonograph_diarization.exceptions import BadOptionsError, BadRttmError


def test_speakers_are_named_in_order_of_appearance():
    print_b = Voiceprint("m", np.ones(3, np.float32))
    found = diarization(
        [Turn(4, 6, "b"), Turn(0, 1, "x"), Turn(1, 3, "b"), Turn(7, 7, "empty")],
        {"b": print_b},
        engine="e",
        model="m",
        no_turns_reason="no_speech",
    )
    assert found.turns == (Turn(0, 1, "S1"), Turn(1, 3, "S2"), Turn(4, 6, "S2"))
    assert [(voice.label, voice.seconds, voice.voiceprint) for voice in found.voices] == [
        ("S1", 1, None),
        ("S2", 4, print_b),
    ]
    assert found.reason is None


def test_no_turns_have_a_reason():
    found = diarization([], {}, engine="e", model="m", no_turns_reason="no_speech")
    assert (found.turns, found.voices, found.reason) == ((), (), "no_speech")


def test_gaps_close_only_within_one_speaker():
    turns = [Turn(0, 1, "a"), Turn(1.2, 2, "a"), Turn(2.1, 3, "b"), Turn(3.1, 4, "a"), Turn(5, 6, "a")]
    assert joined(turns, gap_s=0.3) == [
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
def test_options_become_bounds(options, bounds):
    made = SpeakerBounds.of(*options)
    assert (made.minimum, made.maximum) == bounds


@pytest.mark.parametrize("options", [(None, 3, 2), (1, 2, 3), (4, None, 3), (0, None, None)])
def test_contradicting_options_are_refused(options):
    with pytest.raises(BadOptionsError) as refused:
        SpeakerBounds.of(*options)
    assert refused.value.reason == "bad_options"


def test_rttm_round_trip():
    turns = [Turn(0.5, 1.25, "S1"), Turn(1.25, 3.0, "S2")]
    text = to_rttm(turns, "team meeting")
    assert text.splitlines()[0] == "SPEAKER team_meeting 1 0.500 0.750 <NA> <NA> S1 <NA> <NA>"
    assert from_rttm(text) == {"team_meeting": turns}


def test_rttm_leaves_other_lines_out_and_names_a_bad_one():
    assert from_rttm(";; a comment\nSPKR-INFO x 1 <NA>\n\n") == {}
    with pytest.raises(BadRttmError, match="Line 2"):
        from_rttm("SPEAKER a 1 0 1 <NA> <NA> S1\nSPEAKER a 1 soon 1 <NA> <NA> S1\n")


def test_voiceprints_survive_being_text():
    """C-24: base64 of little-endian float32, both ways."""
    vector = np.array([0.5, -1.25, 3e-7], np.float32)
    assert encode_vector(np.array([1.0], np.float32)) == "AACAPw=="
    assert np.array_equal(decode_vector(encode_vector(vector)), vector)
    with pytest.raises(ValueError, match="base64"):
        decode_vector("not base64!")


def test_cosine_of_a_zero_vector_is_zero():
    assert cosine_similarity(np.zeros(2, np.float32), np.ones(2, np.float32)) == 0
    assert cosine_similarity(np.ones(2, np.float32), np.ones(2, np.float32)) == pytest.approx(1)


def test_known_voices_are_recognised_once_and_only_with_their_own_model():
    """M-13: cosine, the best pair first, no match stays open for a person to decide."""

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
