"""Selection of the diarizer: the one that the settings name, or the best that this machine can run."""

from phonograph_diarization.domain.diarization import DiarizationWarning, WarningCode
from phonograph_diarization.domain.engines import EngineChoice, PyannoteOptions
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.pyannote import PyannoteDiarizer
from phonograph_diarization.inference.segmentation_ge2e import SegmentationGe2eDiarizer
from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer
from phonograph_models import ModelCache
from phonograph_runtime.engine_selection import select_engine


def select_diarizer(
    choice: EngineChoice, options: PyannoteOptions, models: ModelCache, *, threads: int
) -> tuple[Diarizer, tuple[DiarizationWarning, ...]]:
    """Return a loaded diarizer, and warnings for its results if it replaces the default one.

    Args:
        choice: Which engine is wanted; `AUTO` takes the best that loads.
        options: How the pyannote pipeline is loaded.
        models: Where the models of the default engine are looked up.
        threads: Cores that the default engine may use.

    Raises:
        EngineUnavailableError: If the engine that is named cannot be used on this machine.
    """

    def pyannote() -> Diarizer:
        return PyannoteDiarizer(
            options.model,
            token=options.token,
            device=options.device,
            may_download=choice is EngineChoice.PYANNOTE and options.token is not None,
        )

    def segmentation() -> Diarizer:
        return SegmentationGe2eDiarizer(models, threads=threads)

    match choice:
        case EngineChoice.AUTO:
            selected = select_engine(pyannote, segmentation, SileroMfccDiarizer)
        case EngineChoice.PYANNOTE:
            selected = select_engine(pyannote)
        case EngineChoice.SEGMENTATION_GE2E:
            selected = select_engine(segmentation)
        case EngineChoice.SILERO_MFCC:
            selected = select_engine(SileroMfccDiarizer)
    # pyannote is an addition of which most machines know nothing: only its absence is no reason to warn.
    warnings = tuple(
        DiarizationWarning(
            WarningCode.ENGINE_FALLBACK, f"{selected.engine.name} was used instead. {rejection.message}"
        )
        for rejection in selected.rejections[1:]
    )
    return selected.engine, warnings
