"""The default diarizer on its real models: overlap, near and far speakers, noise, bounds of the speakers."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.signal import butter, sosfilt

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.domain.engines import EngineChoice, PyannoteOptions
from phonograph_diarization.inference import pyannote
from phonograph_diarization.inference.ge2e import WINDOW_FRAMES, mel_spectrogram
from phonograph_diarization.inference.segmentation_ge2e import VOICEPRINT_MODEL, SegmentationGe2eDiarizer
from phonograph_diarization.inference.selection import select_diarizer
from phonograph_media import make_rendition, read_rendition
from phonograph_models import ModelCache, ModelMissingError

from .support.rttm import from_rttm

RATE = 16_000
SHARED = Path(__file__).parents[4] / "shared"
SAMPLES = Path(__file__).parents[3] / "tests" / "samples"
needs_data = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"no recordings at {SHARED / 'data'}")
needs_field = pytest.mark.skipif(not (SHARED / "field").is_dir(), reason=f"no cases at {SHARED / 'field'}")


@pytest.fixture(scope="module")
def diarizer(require_model):
    folders = [require_model(name) for name in ("segmentation-3.0", "ge2e")]
    diarizer = SegmentationGe2eDiarizer(ModelCache(folders[0].parent), threads=2)
    diarizer.load()
    return diarizer


@pytest.fixture
def sound(tmp_path):
    """A function that returns the samples of a file."""

    def read(path):
        make_rendition(path, tmp_path / "rendition.wav")
        return read_rendition(tmp_path / "rendition.wav")

    return read


def predict(diarizer, samples, *, speakers=None, minimum=None, maximum=None):
    bounds = SpeakerBounds.from_options(speakers, minimum, maximum)
    return diarizer.predict(samples, bounds=bounds, progress=lambda _done, _stage: None)


def sample_truth():
    turns = from_rttm((SHARED / "data" / "sample.rttm").read_text())["sample"]
    return [(turn.start_s, turn.end_s, turn.speaker) for turn in turns]


def talk_truth():
    turns = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    return [(turn["start"], turn["end"], turn["speaker"]) for turn in turns]


def error_rate(turns, truth):
    """Return the DER with nothing ignored, neither boundaries nor overlap."""

    def annotation(turns):
        result = Annotation()
        for number, (start, end, speaker) in enumerate(turns):
            result[Segment(start, end), number] = speaker
        return result

    found = [(turn.start_s, turn.end_s, turn.speaker) for turn in turns]
    whole = Timeline([Segment(0, max(end for _, end, _ in [*truth, *found]))])
    return DiarizationErrorRate()(annotation(truth), annotation(found), uem=whole)


def overlaps(turns):
    return [(one, other) for one, other in pairwise(turns) if other.start_s < one.end_s]


@needs_data
def test_two_speakers_on_the_telephone_overlap_where_they_do(diarizer, sound):
    found = predict(diarizer, sound(SHARED / "data" / "sample.wav"))
    assert len(found.voices) == 2
    assert error_rate(found.turns, sample_truth()) <= 0.08
    assert overlaps(found.turns)
    assert found.exclusive
    assert not overlaps(found.exclusive)


def test_the_speakers_of_the_sample_talk_are_distinguished(diarizer, sound):
    found = predict(diarizer, sound(SAMPLES / "talk.ogg"))
    assert [turn.speaker for turn in found.turns] == ["S1", "S2", "S1", "S2", "S1", "S2", "S1"]
    assert error_rate(found.turns, talk_truth()) <= 0.02
    assert {voice.voiceprint.model_id for voice in found.voices} == {VOICEPRINT_MODEL}
    assert [np.linalg.norm(voice.voiceprint.vector) for voice in found.voices] == pytest.approx([1, 1])


def test_speakers_who_talk_at_once_have_overlapping_turns(diarizer, sound):
    samples = sound(SAMPLES / "talk.ogg")
    mixed = samples.copy()
    mixed[int(1.5 * RATE) : int(4.5 * RATE)] += samples[int(5.6 * RATE) : int(8.6 * RATE)]
    found = predict(diarizer, mixed)
    assert len(found.voices) == 2
    (pair,) = [pair for pair in overlaps(found.turns) if pair[0].start_s < 4]
    assert min(turn.end_s for turn in pair) - pair[1].start_s > 2
    assert not overlaps(found.exclusive)


@needs_field
def test_one_speaker_near_and_far_is_one_speaker(diarizer, sound):
    """A maximum number of speakers is not a wish."""
    samples = sound(SHARED / "field" / "F26-one-speaker-in-two-tones" / "near-far-near.flac")
    assert len(predict(diarizer, samples).voices) == 1
    assert len(predict(diarizer, samples, maximum=6).voices) == 1


def test_a_speaker_who_moves_away_from_the_microphone_is_one_speaker(diarizer, sound):
    """The far half is quieter and lacks the high frequencies."""
    near = sound(SAMPLES / "lecture.mp4")[: 30 * RATE]
    far = 0.3 * sosfilt(butter(6, 3_000, fs=RATE, output="sos"), near)
    samples = np.concatenate([near, far, near]).astype(np.float32)
    assert len(predict(diarizer, samples, maximum=6).voices) == 1


def test_speech_repeated_exactly_is_one_speaker(diarizer, sound):
    once = sound(SAMPLES / "talk.ogg")[: 5 * RATE]
    assert len(predict(diarizer, np.tile(once, 6)).voices) == 1


@needs_data
def test_two_speakers_are_found_after_ninety_seconds_of_noise(diarizer, sound):
    rng = np.random.default_rng(4)
    noise = 0.01 * rng.standard_normal(90 * RATE).astype(np.float32)
    found = predict(diarizer, np.concatenate([noise, sound(SHARED / "data" / "sample.wav")]))
    truth = [(90 + start, 90 + end, speaker) for start, end, speaker in sample_truth()]
    assert len(found.voices) == 2
    assert found.turns[0].start_s >= 96.2
    assert error_rate(found.turns, truth) <= 0.08


def test_a_quiet_recording_has_the_same_speakers(diarizer, sound):
    found = predict(diarizer, 0.005 * sound(SAMPLES / "talk.ogg"))
    assert error_rate(found.turns, talk_truth()) <= 0.03


@pytest.mark.parametrize("kind", ["empty", "short", "silence", "noise", "tone", "clicks"])
def test_a_recording_without_speech_has_a_reason(diarizer, kind):
    samples = {
        "empty": np.zeros(0),
        "short": np.zeros(100),
        "silence": np.zeros(5 * RATE),
        "noise": 0.1 * np.random.default_rng(1).standard_normal(10 * RATE),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * np.arange(10 * RATE) / RATE),
        "clicks": (np.arange(10 * RATE) % 8_000 < 40).astype(float),
    }[kind].astype(np.float32)
    found = predict(diarizer, samples, minimum=2)
    assert (found.turns, found.exclusive, found.voices, found.reason) == ((), (), (), "no_speech")


@pytest.mark.parametrize("name", ["groove.mp3", "mix.mp3"])
def test_music_has_no_speakers(diarizer, sound, name):
    assert predict(diarizer, sound(SAMPLES / name)).reason == "no_speech"


def test_requested_numbers_of_speakers_are_respected(diarizer, sound):
    samples = sound(SAMPLES / "talk.ogg")
    assert len(predict(diarizer, samples, speakers=1).voices) == 1
    assert len(predict(diarizer, samples, maximum=6).voices) == 2
    assert len(predict(diarizer, sound(SAMPLES / "lecture.mp4")[: 30 * RATE], speakers=2).voices) == 2


def test_voices_are_recognized_in_pieces_of_1600_ms(diarizer, sound):
    """The equal error rate is at most 20 %."""
    recordings = [(sound(SAMPLES / "talk.ogg"), talk_truth())]
    if (SHARED / "data").is_dir():
        recordings.append((sound(SHARED / "data" / "sample.wav"), sample_truth()))
        recordings.append((sound(SHARED / "data" / "jfk.flac"), [(0.2, 10.8, "jfk")]))
    pieces, names = [], []
    for samples, truth in recordings:
        for start, end, speaker in truth:
            for at in np.arange(start, end - 1.6, 1.6):
                piece = samples[int(at * RATE) : int((at + 1.6) * RATE)]
                level = 10**-1.5 / np.sqrt((piece**2).mean())
                pieces.append(mel_spectrogram(piece * level)[:WINDOW_FRAMES])
                names.append(speaker)
    vectors = diarizer._loaded()[1].embed(np.stack(pieces))
    one, other = np.triu_indices(len(names), k=1)
    distances = (1 - vectors @ vectors.T)[one, other]
    is_same = np.array(names)[one] == np.array(names)[other]
    rates = [
        max((distances[~is_same] <= bound).mean(), (distances[is_same] > bound).mean())
        for bound in np.sort(distances)
    ]
    assert min(rates) <= 0.2


def test_progress_increases_to_the_end(diarizer, sound):
    reported: list[float] = []
    samples = sound(SAMPLES / "talk.ogg")[: 12 * RATE]
    diarizer.predict(samples, bounds=SpeakerBounds(), progress=lambda done, _stage: reported.append(done))
    assert reported == sorted(reported)
    assert 0 <= reported[0] < 0.1
    assert 0.9 < reported[-1] <= 1


def test_a_missing_model_is_an_error_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(ModelMissingError, match=r"phonograph models fetch segmentation-3\.0"):
        SegmentationGe2eDiarizer(ModelCache(tmp_path), threads=1).load()


@pytest.mark.skipif(pyannote.is_installed(), reason="pyannote.audio is installed")
def test_auto_falls_back_from_missing_models_with_a_warning(tmp_path):
    engine, (warning,) = select_diarizer(
        EngineChoice.AUTO, PyannoteOptions("org/model"), ModelCache(tmp_path), threads=1
    )
    assert (engine.name, warning.code) == ("silero-mfcc", "engine_fallback")
    assert "segmentation-3.0" in warning.message


@pytest.mark.skipif(pyannote.is_installed(), reason="pyannote.audio is installed")
def test_auto_selects_the_default_engine_without_a_warning(diarizer):
    engine, warnings = select_diarizer(
        EngineChoice.AUTO, PyannoteOptions("org/model"), diarizer._models, threads=1
    )
    assert (engine.name, engine.model, warnings) == ("segmentation-ge2e", "segmentation-3.0+ge2e-v1", ())
