"""The default diarizer, on real recordings and on synthetic voices."""

import json
from pathlib import Path

import numpy as np
import pytest
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.inference import clustering, mfcc
from phonograph_diarization.inference.silero_mfcc import VOICEPRINT_MODEL, SileroMfccDiarizer
from phonograph_media import make_rendition, read_rendition

from .support.rttm import from_rttm

RATE = 16_000
DATA = Path(__file__).parents[4] / "shared" / "data"
SAMPLES = Path(__file__).parents[3] / "tests" / "samples"
recordings = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings at {DATA}")


def predict(samples, *, speakers=None, minimum=None, maximum=None):
    bounds = SpeakerBounds.from_options(speakers, minimum, maximum)
    return SileroMfccDiarizer().predict(samples, bounds=bounds, progress=lambda _fraction, _stage: None)


def recording(path, folder):
    make_rendition(path, folder / "rendition.wav")
    return read_rendition(folder / "rendition.wav")


def error_rate(found, truth, *, collar_s):
    """Return the DER, without `collar_s` on each side of a true boundary; overlap counts."""

    def annotation(turns):
        result = Annotation()
        for number, (start, end, speaker) in enumerate(turns):
            result[Segment(start, end), number] = speaker
        return result

    metric = DiarizationErrorRate(collar=2 * collar_s)
    turns = [(turn.start_s, turn.end_s, turn.speaker) for turn in found.turns]
    last = max(end for _, end, _ in [*truth, *turns])
    return metric(annotation(truth), annotation(turns), uem=Timeline([Segment(0, last)]))


@recordings
def test_two_speakers_on_the_telephone_are_distinguished(tmp_path):
    turns = from_rttm((DATA / "sample.rttm").read_text())["sample"]
    truth = [(turn.start_s, turn.end_s, turn.speaker) for turn in turns]
    found = predict(recording(DATA / "sample.wav", tmp_path))
    assert len(found.voices) == 2
    assert error_rate(found, truth, collar_s=0.25) < 0.08
    assert error_rate(found, truth, collar_s=0) < 0.2


@recordings
def test_one_speaker_at_a_lectern_remains_one_speaker(tmp_path):
    found = predict(recording(DATA / "jfk.flac", tmp_path))
    assert {turn.speaker for turn in found.turns} == {"S1"}


def test_the_two_speakers_of_the_sample_talk_are_distinguished(tmp_path):
    turns = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    truth = [(turn["start"], turn["end"], turn["speaker"]) for turn in turns]
    found = predict(recording(SAMPLES / "talk.ogg", tmp_path))
    assert [turn.speaker for turn in found.turns] == ["S1", "S2", "S1", "S2", "S1", "S2", "S1"]
    assert error_rate(found, truth, collar_s=0.25) < 0.02


def test_the_sample_lecture_has_one_speaker_and_the_groove_has_none(tmp_path):
    assert len(predict(recording(SAMPLES / "lecture.mp4", tmp_path)).voices) == 1
    assert predict(recording(SAMPLES / "groove.mp3", tmp_path)).reason == "no_speech"


def test_one_synthetic_voice_remains_one_speaker(talk):
    for speaker in ("low", "high", "deep"):
        samples, _ = talk((speaker, 6), (speaker, 3), (speaker, 12), (speaker, 20))
        assert len(predict(samples).voices) == 1


def test_two_synthetic_voices_are_distinguished(talk):
    samples, truth = talk(("low", 4), ("high", 3), ("low", 5), ("high", 6), ("low", 3), ("high", 4))
    found = predict(samples)
    assert len(found.voices) == 2
    assert found.turns[0].speaker == "S1"
    assert error_rate(found, truth, collar_s=0.25) < 0.05
    assert (found.engine, found.model, found.reason) == ("silero-mfcc", "silero-vad-v6+mfcc19", None)


def test_speakers_after_long_noise_and_of_a_quiet_recording_are_distinguished(tmp_path):
    """The noise of a room precedes the talk for 90 s; all of it is 40 dB quieter than usual."""
    turns = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    room = 0.03 * np.random.default_rng(4).standard_normal(90 * RATE).astype(np.float32)
    found = predict(0.01 * np.concatenate([room, recording(SAMPLES / "talk.ogg", tmp_path)]))
    truth = [(90 + turn["start"], 90 + turn["end"], turn["speaker"]) for turn in turns]
    assert [turn.speaker for turn in found.turns] == ["S1", "S2", "S1", "S2", "S1", "S2", "S1"]
    assert error_rate(found, truth, collar_s=0.25) < 0.02


def test_three_synthetic_voices_are_distinguished(talk):
    turns = [("low", 5), ("high", 4), ("deep", 6)] * 3
    samples, truth = talk(*turns)
    found = predict(samples)
    assert len(found.voices) == 3
    assert error_rate(found, truth, collar_s=0.25) < 0.05


def test_requested_numbers_of_speakers_are_respected(talk):
    samples, _ = talk(*[("low", 5), ("high", 5), ("deep", 5)] * 2)
    assert len(predict(samples).voices) == 3
    assert len(predict(samples, speakers=2).voices) == 2
    assert len(predict(samples, speakers=1).voices) == 1
    assert len(predict(samples, maximum=2).voices) == 2
    one_voice, _ = talk(("low", 20))
    assert len(predict(one_voice, minimum=2, maximum=4).voices) == 2


def test_voiceprints_of_one_speaker_are_similar_in_two_recordings(talk):
    first = predict(talk(("low", 8), ("high", 8), ("low", 8))[0])
    second = predict(talk(("high", 9), ("high", 9), ("low", 9))[0])
    assert [voice.voiceprint.model_id for voice in first.voices] == [VOICEPRINT_MODEL] * 2
    assert {voice.voiceprint.dim for voice in first.voices} == {2 * mfcc.COEFFICIENTS}
    assert {voice.voiceprint.vector.dtype for voice in first.voices} == {np.dtype(np.float32)}
    (low, high), (high_again, low_again) = (
        [voice.voiceprint.vector / np.linalg.norm(voice.voiceprint.vector) for voice in found.voices]
        for found in (first, second)
    )
    assert low @ low_again > 0.95 > low @ high_again
    assert high @ high_again > 0.95 > high @ low_again


@pytest.mark.parametrize("kind", ["empty", "short", "silence", "noise", "tone", "clicks"])
def test_no_speech_is_a_result_with_a_reason(kind):
    rng = np.random.default_rng(1)
    samples = {
        "empty": np.zeros(0),
        "short": np.zeros(100),
        "silence": np.zeros(5 * RATE),
        "noise": 0.1 * rng.standard_normal(10 * RATE),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * np.arange(10 * RATE) / RATE),
        "clicks": (np.arange(10 * RATE) % 8_000 < 40).astype(float),
    }[kind].astype(np.float32)
    found = predict(samples, minimum=2)
    assert (found.turns, found.voices, found.reason) == ((), (), "no_speech")


def test_one_second_of_speech_is_one_turn_within_the_recording(voice):
    found = predict(voice("low", 1.0, 3))
    assert len(found.voices) == 1
    assert 0 <= found.turns[0].start_s < found.turns[-1].end_s <= 1.0
    assert len(predict(voice("low", 1.0, 3), speakers=3).voices) == 1


def test_a_long_recording_is_diarized_in_blocks(talk, monkeypatch):
    """As many voices are found with blocks as without."""
    turns = [("low", 7), ("high", 6)] * 3 + [("low", 20)] + [("deep", 6), ("high", 7)] * 2
    samples, truth = talk(*turns)
    whole = predict(samples)
    monkeypatch.setattr(clustering, "_BLOCK", 2_000)
    blocks = predict(samples)
    assert len(whole.voices) == len(blocks.voices) == 3
    assert error_rate(blocks, truth, collar_s=0.25) < 0.05
    assert len(predict(samples, speakers=2).voices) == 2


def test_progress_increases_to_the_end(talk):
    samples, _ = talk(("low", 5), ("high", 5))
    reported: list[float] = []
    SileroMfccDiarizer().predict(
        samples, bounds=SpeakerBounds(), progress=lambda done, _stage: reported.append(done)
    )
    assert reported == sorted(reported)
    assert 0 <= reported[0] < 0.1
    assert 0.8 < reported[-1] <= 1


def test_mfcc_of_blocks_equal_those_of_the_whole(voice, monkeypatch):
    samples = voice("low", 4, 1)
    whole = mfcc.mfcc(samples)
    assert whole.shape == (398, mfcc.COEFFICIENTS)
    monkeypatch.setattr(mfcc, "_BLOCK", 90)
    assert np.allclose(mfcc.mfcc(samples), whole, atol=1e-3)
