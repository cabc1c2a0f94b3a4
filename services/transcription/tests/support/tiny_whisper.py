"""Creates a small Whisper model with random weights: real files, invented words."""

import json
import re
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WIDTH = 16
HEADS = 2
LAYERS = 2
MELS = 80
FRAMES = 1500
POSITIONS = 448
TIMESTAMPS = 1501
BYTE_PAIRS = 50_257

SPOKEN_WORDS = 8
"""Number of words that the model uses: few enough to be confident beyond Whisper's thresholds."""


def make_tiny_whisper(folder: Path, *, multilingual: bool = True, seed: int = 0) -> Path:
    """Write model.bin, config.json, vocabulary.json, tokenizer.json and preprocessor_config.json.

    Args:
        folder: Where the files are written.
        multilingual: Whether the vocabulary has tokens of languages.
        seed: Seed of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(multilingual=multilingual)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    tokens += [f"<|{number * 0.02:.2f}|>" for number in range(TIMESTAMPS)]

    spec = ctranslate2.specs.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    _fill(spec, len(tokens), np.random.default_rng(seed))
    bias = np.zeros(len(tokens))
    bias[:BYTE_PAIRS] = -50.0
    bias[256 : 256 + SPOKEN_WORDS] = 4.0
    bias[tokenizer.token_to_id("<|endoftext|>")] = 4.0
    bias[tokenizer.token_to_id("<|nospeech|>")] = -50.0
    bias[-TIMESTAMPS:] = -5.0  # otherwise their sum would exceed every word
    spec.decoder.projection.bias = bias.astype(np.float32)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokenizer.token_to_id("<|endoftext|>")]
    spec.config.lang_ids = (
        [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES] if multilingual else []
    )
    spec.config.alignment_heads = [(LAYERS - 1, head) for head in range(HEADS)]
    spec.validate()
    spec.optimize()
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_size": MELS,
                "sampling_rate": 16_000,
                "hop_length": 160,
                "n_fft": 400,
                "chunk_length": 30,
            }
        )
    )
    return folder


def _tokenizer(*, multilingual: bool) -> Tokenizer:
    """Return a tokenizer of all bytes, invented words and Whisper's special tokens, in Whisper's order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"Ġ{_word(number)}" for number in range(BYTE_PAIRS - len(alphabet))]
    if multilingual:
        words[-1] = ""  # in Whisper's multilingual vocabulary only; CTranslate2 checks for it
    vocabulary = {token: number for number, token in enumerate([*alphabet, *words])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES] if multilingual else []
    special = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *languages,
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _word(number: int) -> str:
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    letters = ""
    while number or not letters:
        number, syllable = divmod(number, len(syllables))
        letters += syllables[syllable]
    return letters


def _fill(spec: Any, vocabulary: int, rng: np.random.Generator) -> None:
    """Fill every required weight of the model with random values."""
    shapes = _shapes(vocabulary)

    def fill(layer: Any, name: str, value: Any) -> None:
        shape = next((shape for pattern, shape in shapes.items() if re.search(pattern, name)), None)
        if shape is None or value not in {None, "__optional"}:
            return
        field = name.rpartition("/")[2]
        weights = {"gamma": np.ones(shape), "beta": np.zeros(shape)}.get(field, rng.normal(0, 0.3, shape))
        setattr(layer, field, weights.astype(np.float32))

    spec._visit(fill)


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    return {
        "conv1/weight$": (WIDTH, MELS, 3),
        "conv2/weight$": (WIDTH, WIDTH, 3),
        "conv./bias$": (WIDTH,),
        "encoder/position_encodings/encodings$": (FRAMES, WIDTH),
        "decoder/position_encodings/encodings$": (POSITIONS, WIDTH),
        "(embeddings|projection)/weight$": (vocabulary, WIDTH),
        "self_attention/linear_0/weight$": (3 * WIDTH, WIDTH),
        "/attention/linear_1/weight$": (2 * WIDTH, WIDTH),
        "attention/linear_./weight$": (WIDTH, WIDTH),
        "ffn/linear_0/weight$": (4 * WIDTH, WIDTH),
        "ffn/linear_1/weight$": (WIDTH, 4 * WIDTH),
        "(gamma|beta)$": (WIDTH,),
    }
