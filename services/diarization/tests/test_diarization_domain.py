"""Turns, RTTM, bounds and voices."""

from uuid import uuid4

import numpy as np
import pytest

from phonograph_diarization.domain.diarization import (
    SpeakerBounds,
    Turn,
    Voiceprint,
    build_diarization,
    close_gaps,
)
from phonograph_diarization.domain.people import clean_name
from phonograph_diarization.domain.rttm import to_rttm
from phonograph_diarization.domain.times import match_by_time
from phonograph_diarization.domain.voices import (
    MATCH_RULES,
    MAX_VOICEPRINTS,
    KnownVoice,
    Voice,
    VoiceSample,
    build_prototypes,
    decode_vector,
    encode_vector,
    similarities,
    suggest_people,
)
from phonograph_diarization.exceptions import BadOptionsError, RequestRefusedError

from .support.rttm import from_rttm

MFCC = "mfcc19-statistics-v1"


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
    vectors = np.array([[0, 0], [1, 1], [-3, -3]], np.float32)
    expected = [[0, 0, 0], [0, 1, -1], [0, -1, 1]]
    assert np.allclose(similarities(vectors, vectors), expected, atol=1e-6)


ANN, BOB, MEETING = uuid4(), uuid4(), uuid4()


def voice(*vector, model=MFCC, meeting=MEETING):
    return Voice(uuid4(), meeting, Voiceprint(model, np.array(vector, np.float32)))


def known(person, *vector, model=MFCC):
    return KnownVoice(person, Voiceprint(model, np.array(vector, np.float32)))


def suggest(voices, people, *, taken=(), refused=()):
    found = suggest_people(voices, people, taken={MEETING: set(taken)}, refused=set(refused))
    return {
        voices.index(each): found[each.speaker_id].person_id for each in voices if each.speaker_id in found
    }


def test_a_person_is_suggested_once_in_a_meeting_and_only_by_the_same_model():
    """Speakers match by cosine similarity, the best pair first; the rest has no match (M-13)."""
    people = [known(ANN, 1, 0), known(BOB, 0, 1), known(BOB, 1, 0, model="pyannote:x")]
    voices = [
        voice(0.9, 0.2),
        voice(1, 0.01),
        voice(-1, -1),
        voice(0, 1, model="pyannote:y"),
        voice(0, 1, 0),
        voice(1, 0.1, meeting=uuid4()),
    ]
    assert suggest(voices, people) == {1: ANN, 5: ANN}
    matches = suggest_people(voices, people, taken={}, refused=set())
    assert matches[voices[1].speaker_id].score == pytest.approx(1, abs=1e-3)


def test_nothing_is_suggested_where_it_would_be_a_guess():
    """Below the threshold, too close to a second person, or by a model without a measured rule."""
    rule = MATCH_RULES[MFCC]
    below = np.sqrt(1 - (rule.threshold - 0.01) ** 2)
    assert suggest([voice(rule.threshold - 0.01, below)], [known(ANN, 1, 0)]) == {}
    assert suggest([voice(1, 0.5)], [known(ANN, 1, 0)]) == {0: ANN}
    assert suggest([voice(1, 0.5)], [known(ANN, 1, 0), known(BOB, 1, 1.1)]) == {}
    assert suggest([voice(1, 0, model="new")], [known(ANN, 1, 0, model="new")]) == {}
    # The second best voice for a person does not get the second best person.
    assert suggest([voice(1, 0), voice(1, 0.5)], [known(ANN, 1, 0.1), known(BOB, 1, 1.6)]) == {0: ANN}


def test_people_who_are_taken_or_refused_are_not_suggested():
    speaker = voice(1, 0.1)
    people = [known(ANN, 1, 0), known(BOB, 1, 0.6)]
    assert suggest([speaker], people) == {0: ANN}
    assert suggest([speaker], people, taken=[ANN]) == {0: BOB}
    assert suggest([speaker], people, refused=[(speaker.speaker_id, ANN)]) == {0: BOB}
    assert suggest([speaker], people, taken=[BOB], refused=[(speaker.speaker_id, ANN)]) == {}


def test_speakers_of_two_meetings_are_the_same_if_they_speak_at_the_same_times():
    first, second, third = uuid4(), uuid4(), uuid4()
    one, other, split, part = uuid4(), uuid4(), uuid4(), uuid4()
    earlier = {first: [(0, 10), (20, 30)], second: [(10, 20)], third: [(40, 60)]}
    later = {
        one: [(0.5, 9.5), (20, 22), (22.5, 30)],
        other: [(10, 17.1), (30, 32)],
        split: [(40, 50)],
        part: [(50, 60)],
        uuid4(): [(70, 80)],
        uuid4(): [],
    }
    assert match_by_time(earlier, later) == {one: first, other: second}
    both = {uuid4(): [(0, 9)], (best := uuid4()): [(0, 10)]}
    assert match_by_time({first: [(0, 10)]}, both) == {best: first}
    assert match_by_time({}, later) == match_by_time(earlier, {}) == {}


def test_voiceprints_of_a_person_are_bounded_and_the_similar_ones_are_joined():
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((MAX_VOICEPRINTS, 16))
    samples = [
        VoiceSample(Voiceprint(MFCC, (direction + 0.01 * rng.standard_normal(16)).astype(np.float32)), 2.0)
        for direction in directions
        for _ in range(3)
    ]
    prototypes = build_prototypes([*samples, VoiceSample(Voiceprint("other", np.ones(4, np.float32)), 1.0)])
    assert sorted((each.voiceprint.model_id, each.sample_count) for each in prototypes) == [
        *[(MFCC, 3)] * MAX_VOICEPRINTS,
        ("other", 1),
    ]
    own = np.stack([each.voiceprint.vector for each in prototypes if each.voiceprint.model_id == MFCC])
    assert similarities(directions.astype(np.float32), own).max(axis=1).min() > 0.99
    few = build_prototypes(samples[:2])
    assert [each.voiceprint.vector.tobytes() for each in few] == [
        each.voiceprint.vector.tobytes() for each in samples[:2]
    ]


def test_names_are_stored_in_one_form():
    assert clean_name("  Zoe\u0301  de\u00a0 Vries ") == "Zo\u00e9 de Vries"
    for name in (None, "", "  ", "a\x00b", "x" * 256, "\ud800"):
        with pytest.raises(RequestRefusedError) as error:
            clean_name(name)
        assert error.value.reason == "bad_name"
