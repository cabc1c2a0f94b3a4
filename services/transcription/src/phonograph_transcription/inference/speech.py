"""Speech detection for the engines: sound that is not speech never reaches a model."""

from phonograph_media.speech import SpeechDetector, SpeechOptions
from phonograph_transcription.domain.transcript import TranscriptWarning, WarningCode

NO_SPEECH = TranscriptWarning(WarningCode.NO_SPEECH, "The recording contains no speech.")

MIN_SPEECH_S = 0.2
"""Clicks and coughs are shorter."""
MIN_SILENCE_S = 0.5
"""Pause that ends a region; shorter ones occur inside sentences."""
PAD_S = 0.2


def make_speech_detector(max_region_s: float) -> SpeechDetector:
    """Return a detector of regions that last at most `max_region_s`."""
    return SpeechDetector(
        SpeechOptions(
            min_speech_s=MIN_SPEECH_S, min_silence_s=MIN_SILENCE_S, pad_s=PAD_S, max_region_s=max_region_s
        )
    )
