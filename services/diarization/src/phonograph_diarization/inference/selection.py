"""Selection of the diarizer: the one that the settings name, or the best that this machine can run."""

from phonograph_diarization.domain.engines import EngineChoice, PyannoteOptions
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.pyannote import PyannoteDiarizer
from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer
from phonograph_runtime.engine_selection import select_engine


def select_diarizer(choice: EngineChoice, options: PyannoteOptions) -> Diarizer:
    """Return a loaded diarizer.

    Args:
        choice: Which engine is wanted; `AUTO` takes the best that loads.
        options: How the pyannote pipeline is loaded.

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

    match choice:
        case EngineChoice.AUTO:
            return select_engine(pyannote, SileroMfccDiarizer).engine
        case EngineChoice.PYANNOTE:
            return select_engine(pyannote).engine
        case EngineChoice.SILERO_MFCC:
            return select_engine(SileroMfccDiarizer).engine
