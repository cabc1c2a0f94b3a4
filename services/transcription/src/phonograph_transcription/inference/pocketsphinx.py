"""The transcriber that works everywhere: English, its model inside the wheel, CPU only."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from typing_extensions import override

from phonograph_events import Facts
from phonograph_media import SAMPLE_RATE_HZ, Samples
from phonograph_media.speech import SpeechRegion, measure_gain
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.engines import EngineChoice
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    clip_word,
    join_words,
    mean_confidence,
)
from phonograph_transcription.inference.speech import NO_SPEECH, make_speech_detector

NAME = EngineChoice.POCKETSPHINX.value
MODEL = "en-us"
LANGUAGE = "en"
FRAMES_PER_S = 100
BEAM = 1e-60
"""Wider than the default 1e-48: fewer words are lost early, for a few percent more time."""
MAX_REGION_S = 15.0
"""The lattice, and with it memory and the final search, grows with the length of an utterance."""
_VARIANT = re.compile(r"\(\d+\)$")


class PocketsphinxTranscriber(Transcriber):
    """Recognizes American English with the CMU Sphinx model en-us."""

    def __init__(self, decoder: Any = None) -> None:
        self._decoder = decoder
        self._detector = make_speech_detector(MAX_REGION_S)

    @property
    @override
    def name(self) -> str:
        return NAME

    @property
    @override
    def model(self) -> str:
        return MODEL

    @property
    @override
    def settings(self) -> Facts:
        return {"device": "cpu", "beam": BEAM}

    @override
    def load(self) -> None:
        if self._decoder is None:
            self._decoder = self._load()

    def _load(self) -> Any:
        try:
            from pocketsphinx import Decoder

            return Decoder(beam=BEAM, cmn="batch", loglevel="FATAL")
        except (ImportError, RuntimeError, ValueError) as error:
            raise EngineUnavailableError(
                f"pocketsphinx cannot be loaded: {error}. Install the service again."
            ) from error

    @override
    def predict(self, samples: Samples, *, language: str | None, progress: Progress) -> Transcript:
        empty = Transcript(NAME, MODEL, LANGUAGE, None)
        if language is not None and language.lower().partition("-")[0] != LANGUAGE:
            message = f"pocketsphinx supports English only, not {language!r}; use a Whisper model."
            return empty.with_warnings(TranscriptWarning(WarningCode.UNSUPPORTED_LANGUAGE, message))
        self.load()
        # The features keep a noise estimate: without a reset, one recording would influence the next.
        self._decoder.reinit_feat()
        segments = tuple(self._segments(samples, progress))
        if not segments:
            return empty.with_warnings(NO_SPEECH)
        return Transcript(NAME, MODEL, LANGUAGE, None, segments)

    def _segments(self, samples: Samples, progress: Progress) -> Iterator[Segment]:
        progress(0.0, "speech")
        gain = measure_gain(samples)
        for region in self._detector.detect(samples):
            words = tuple(self._words(samples, region, gain))
            if words:
                yield Segment(
                    start_s=words[0].start_s or 0.0,
                    end_s=words[-1].end_s or 0.0,
                    text=join_words(words),
                    words=words,
                    confidence=mean_confidence(words),
                )
            progress(region.end / len(samples), "words")

    def _words(self, samples: Samples, region: SpeechRegion, gain: np.float32) -> Iterator[Word]:
        """Yield the words of a region.

        Args:
            samples: The recording.
            region: The region.
            gain: Factor for quiet recordings.
        """
        scaled = np.rint(samples[region.start : region.end] * (gain * 32_768))
        pcm = np.clip(scaled, -32_768, 32_767).astype("<i2").tobytes()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        self._decoder.end_utt()
        for found in self._decoder.seg() or ():
            if found.word.startswith(("<", "[", "+")):
                continue
            word = Word(
                text=_VARIANT.sub("", found.word),
                start_s=region.start_s + found.start_frame / FRAMES_PER_S,
                end_s=region.start_s + (found.end_frame + 1) / FRAMES_PER_S,
                confidence=round(min(max(found.prob, 0.0), 1.0), 4),
                is_spaced=True,
            )
            yield clip_word(word, duration_s=len(samples) / SAMPLE_RATE_HZ)
