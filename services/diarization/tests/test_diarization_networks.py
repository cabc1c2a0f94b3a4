"""The networks' weights and arithmetic, and the clustering of voices, without the real models."""

import os
import pickle
from itertools import pairwise

import numpy as np
import pytest

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.inference import voice_clustering
from phonograph_diarization.inference.ge2e import MEL_BANDS, Ge2eEncoder, mel_spectrogram
from phonograph_diarization.inference.local_voices import LocalVoices
from phonograph_diarization.inference.segmentation import STEP, WINDOW, SpeechSegmenter
from phonograph_diarization.inference.timeline import build_turns
from phonograph_diarization.inference.torch_weights import read_torch_weights
from phonograph_diarization.inference.voice_clustering import group_voices
from phonograph_runtime.errors import EngineUnavailableError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Global:
    """A class or function that a pickle names."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


def checkpoint(content, blocks):
    """Return a file in torch's format: pickles, then the numbers of each storage.

    Args:
        content: Values, with `Global` for calls and `Storage` for storages.
        blocks: Numbers of each storage by its key.
    """

    # The text protocol is written by hand, since the named functions are not installed.
    def encode(value):
        match value:
            case dict():
                items = b"".join(encode(key) + encode(each) + b"s" for key, each in value.items())
                return b"}" + items
            case tuple():
                return b"(" + b"".join(map(encode, value)) + b"t"
            case Global():
                module, name = value.name.rsplit(".", 1)
                return f"c{module}\n{name}\n".encode() + encode(value.arguments) + b"R"
            case Storage():
                kind = b"ctorch\nFloatStorage\n"
                return (
                    b"("
                    + encode("storage")
                    + kind
                    + encode(value.key)
                    + encode("cpu")
                    + (encode(value.count) + b"Nt" + b"Q")
                )
            case _:
                return pickle.dumps(value, 2)[2:-1]

    header = [MAGIC, VERSION, {"protocol_version": 1001, "little_endian": True}]
    pickles = [pickle.dumps(each, 2) for each in header] + [b"\x80\x02" + encode(content) + b"."]
    numbers = b"".join(len(block).to_bytes(8, "little") + block.tobytes() for block in blocks.values())
    return b"".join([*pickles, pickle.dumps(list(blocks), 2), numbers])


def tensor(key, shape):
    count = int(np.prod(shape))
    strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    return Global("torch._utils._rebuild_tensor_v2", Storage(key, count), 0, shape, strides, False, {})


def test_the_tensors_of_a_checkpoint_are_read_without_torch(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    path = tmp_path / "weights.pt"
    path.write_bytes(checkpoint({"model_state": {"a": tensor("1", (2, 3))}, "step": 7}, {"1": numbers}))
    weights = read_torch_weights(path, "model_state")
    assert list(weights) == ["a"]
    assert np.array_equal(weights["a"], numbers.reshape(2, 3))


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "numpy.core.multiarray.scalar"])
def test_a_checkpoint_that_names_code_is_refused_and_runs_nothing(tmp_path, name):
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    path.write_bytes(checkpoint({"model_state": Global(name, f"touch {trace}")}, {}))
    with pytest.raises(EngineUnavailableError, match=name):
        read_torch_weights(path, "model_state")
    assert not trace.exists()


def test_a_pickle_made_to_run_a_command_is_refused(tmp_path):
    class Command:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trace'}",)

    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Command()))
    with pytest.raises(EngineUnavailableError, match="system"):
        read_torch_weights(path, "model_state")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("length", [0, 10, 60, -5])
def test_a_checkpoint_that_is_cut_is_an_error(tmp_path, length):
    whole = checkpoint({"model_state": {"a": tensor("1", (2, 3))}}, {"1": np.ones(6, np.float32)})
    path = tmp_path / "weights.pt"
    path.write_bytes(whole[:length])
    with pytest.raises(EngineUnavailableError, match="no checkpoint"):
        read_torch_weights(path, "model_state")


def encoder(threads=1):
    rng = np.random.default_rng(5)
    shapes = {"linear.weight": (256, 256), "linear.bias": (256,)}
    for layer, inputs in enumerate((MEL_BANDS, 256, 256)):
        shapes |= {f"lstm.weight_ih_l{layer}": (1024, inputs), f"lstm.weight_hh_l{layer}": (1024, 256)}
        shapes |= {f"lstm.bias_ih_l{layer}": (1024,), f"lstm.bias_hh_l{layer}": (1024,)}
    weights = {name: rng.normal(0, 0.08, shape).astype(np.float32) for name, shape in shapes.items()}
    return Ge2eEncoder(weights, threads=threads), weights


def embed_slowly(window, weights):
    """Return the vector of one window by the definition of the LSTM, in double precision."""
    sequence = [frame.astype(np.float64) for frame in window]
    for layer in range(3):
        hidden, cell, outputs = np.zeros(256), np.zeros(256), []
        for frame in sequence:
            gates = weights[f"lstm.weight_ih_l{layer}"] @ frame + weights[f"lstm.bias_ih_l{layer}"]
            gates = gates + weights[f"lstm.weight_hh_l{layer}"] @ hidden + weights[f"lstm.bias_hh_l{layer}"]
            enter, forget, candidate, leave = np.split(gates, 4)
            cell = cell / (1 + np.exp(-forget)) + np.tanh(candidate) / (1 + np.exp(-enter))
            hidden = np.tanh(cell) / (1 + np.exp(-leave))
            outputs.append(hidden)
        sequence = outputs
    raw = np.maximum(weights["linear.weight"] @ sequence[-1] + weights["linear.bias"], 0)
    return raw / np.linalg.norm(raw)


def test_the_network_computes_what_an_lstm_is_defined_as():
    fast, weights = encoder(threads=2)
    windows = np.random.default_rng(6).normal(0, 1, (70, 12, MEL_BANDS)).astype(np.float32)
    vectors = fast.embed(windows)
    assert vectors.shape == (70, 256)
    for index in (0, 69):
        assert np.allclose(vectors[index], embed_slowly(windows[index], weights), atol=1e-5)


def test_a_tone_is_in_its_mel_band():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    spectrogram = mel_spectrogram(tone)
    assert spectrogram.shape == (101, MEL_BANDS)
    # On Slaney's scale 1 kHz is 15 mel of 45.245, divided into 41 steps.
    assert spectrogram[50].argmax() == round(15 / (15 + 27 * np.log(8) / np.log(6.4)) * 41) - 1


def test_the_classes_of_the_segmentation_are_sets_of_speakers():
    def model(windows):
        scores = np.zeros((len(windows), 589, 7), np.float32)
        scores[:, :100, 0] = 1
        scores[:, 100:, 4] = 1
        return scores

    samples = np.ones(WINDOW + 2 * STEP + 1, np.float32)
    activity = SpeechSegmenter(model).segment(samples, lambda _done: None)
    assert activity.shape == (4, 589, 3)
    assert not activity[:, :100].any()
    assert activity[:, 100:, :2].all()
    assert not activity[:, :, 2].any()


def local_voices(*turns, noise=0.03, seed=1):
    """Return local voices: for each window a tuple of voices, each a direction of its own."""
    rng = np.random.default_rng(seed)
    directions = np.eye(8, 256)
    rows = [(window, slot, voice) for window, voices in enumerate(turns) for slot, voice in enumerate(voices)]
    vectors = np.array([directions[voice] + noise * rng.standard_normal(256) for *_, voice in rows])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    windows, slots, _ = np.array(rows).T
    ones = np.ones(len(rows), np.float32)
    return LocalVoices(windows, slots, vectors.astype(np.float32), 3 * ones, ones)


def group(local, minimum=1, maximum=None, alike=None):
    def describe(members):
        plain = local.vectors[members].mean(axis=0)
        return plain / np.linalg.norm(plain), plain / np.linalg.norm(plain) if alike is None else alike

    return group_voices(local, SpeakerBounds(minimum, maximum), describe)


def test_voices_of_many_blocks_are_found_within_the_bounds(monkeypatch):
    monkeypatch.setattr(voice_clustering, "_BLOCK", 5)
    local = local_voices(*[(0, 1), (0,), (1, 2), (2,)] * 8)
    assert len(group(local).voiceprints) == 3
    assert len(group(local, maximum=2).voiceprints) == 2
    assert len(group(local, maximum=6).voiceprints) == 3
    assert len(group(local, minimum=5).voiceprints) == 5


def test_a_voice_with_too_little_speech_is_dropped():
    assert len(group(local_voices(*[(0,)] * 9, (1,))).voiceprints) == 1
    assert len(group(local_voices((1,))).voiceprints) == 1


def test_groups_that_differ_by_the_microphone_alone_are_one_voice():
    local = local_voices(*[(0,)] * 5, *[(1,)] * 5)
    same = np.eye(1, 256, dtype=np.float32)[0]
    grouped = group(local, alike=same)
    assert (len(grouped.directions), len(grouped.voiceprints)) == (2, 1)
    assert len(group(local, minimum=2, alike=same).voiceprints) == 2


def test_pauses_are_closed_unless_another_speaker_fills_them():
    talking = np.zeros((400, 2), np.bool_)
    talking[10:100, 0] = talking[110:200, 0] = talking[215:300, 0] = True
    talking[200:215, 1] = True
    turns = build_turns(talking, 7.0)
    assert [turn.speaker for turn in turns] == ["0", "1", "0"]
    assert all(one.end_s <= other.start_s for one, other in pairwise(turns))
