"""The default diarizer: segmentation-3.0 finds who talks at once, GE2E compares the voices; without torch."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Voiceprint,
    build_diarization,
)
from phonograph_diarization.domain.engines import EngineChoice
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.ge2e import Ge2eEncoder
from phonograph_diarization.inference.local_voices import embed_alike, embed_local_voices
from phonograph_diarization.inference.segmentation import SpeechSegmenter
from phonograph_diarization.inference.timeline import build_timeline, build_turns
from phonograph_diarization.inference.voice_clustering import group_voices
from phonograph_media import SAMPLE_RATE_HZ
from phonograph_models import ModelCache
from phonograph_runtime.ports import Progress

SEGMENTATION_MODEL = "segmentation-3.0"
VOICE_MODEL = "ge2e"
VOICEPRINT_MODEL = "ge2e-v1"


class SegmentationGe2eDiarizer(Diarizer):
    """Distinguishes voices that talk in turn or at once; needs two small models and no GPU."""

    def __init__(
        self,
        models: ModelCache,
        *,
        threads: int,
        segmenter: SpeechSegmenter | None = None,
        encoder: Ge2eEncoder | None = None,
    ) -> None:
        """Create the diarizer; nothing is loaded yet.

        Args:
            models: Where the models are looked up.
            threads: Cores that it may use.
            segmenter: A loaded segmenter.
            encoder: A loaded encoder.
        """
        self._models = models
        self._threads = threads
        self._segmenter = segmenter
        self._encoder = encoder

    @property
    @override
    def name(self) -> str:
        return EngineChoice.SEGMENTATION_GE2E.value

    @property
    @override
    def model(self) -> str:
        return f"{SEGMENTATION_MODEL}+{VOICEPRINT_MODEL}"

    @override
    def load(self) -> None:
        self._loaded()

    @override
    def predict(
        self, samples: NDArray[np.float32], *, bounds: SpeakerBounds, progress: Progress
    ) -> Diarization:
        segmenter, encoder = self._loaded()
        activity = segmenter.segment(samples, lambda done: progress(0.5 * done, "speech"))
        local = embed_local_voices(
            samples, activity, encoder, lambda done: progress(0.5 + 0.4 * done, "voices")
        )
        if not len(local.windows):
            return build_diarization([], {}, engine=self.name, model=self.model)
        progress(0.9, "speakers")
        groups = group_voices(
            local, bounds, lambda members: embed_alike(samples, activity, local, members, encoder)
        )
        progress(0.95, "turns")
        timeline = build_timeline(activity, local, groups)
        duration_s = samples.size / SAMPLE_RATE_HZ
        return build_diarization(
            build_turns(timeline.talking, duration_s),
            {
                str(voice): Voiceprint(VOICEPRINT_MODEL, vector)
                for voice, vector in enumerate(groups.voiceprints)
            },
            exclusive=build_turns(timeline.loudest, duration_s),
            engine=self.name,
            model=self.model,
        )

    def _loaded(self) -> tuple[SpeechSegmenter, Ge2eEncoder]:
        if self._segmenter is None:
            path = self._models.require(SEGMENTATION_MODEL) / "segmentation.onnx"
            self._segmenter = SpeechSegmenter.from_file(path, threads=self._threads)
        if self._encoder is None:
            path = self._models.require(VOICE_MODEL) / "pretrained.pt"
            self._encoder = Ge2eEncoder.from_file(path, threads=self._threads)
        return self._segmenter, self._encoder
