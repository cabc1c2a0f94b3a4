"""Selection of the transcriber: the one that the settings name, or the best that this machine can run."""

from phonograph_models import ModelCache
from phonograph_runtime.engine_selection import select_engine
from phonograph_transcription.domain.engines import EngineChoice, WhisperOptions
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.transcript import TranscriptWarning, WarningCode
from phonograph_transcription.inference.pocketsphinx import PocketsphinxTranscriber
from phonograph_transcription.inference.whisper import WhisperTranscriber


def select_transcriber(
    choice: EngineChoice, options: WhisperOptions, models: ModelCache
) -> tuple[Transcriber, tuple[TranscriptWarning, ...]]:
    """Return a loaded transcriber, and warnings for its results if it replaces a better one.

    Args:
        choice: Which engine is wanted; `AUTO` takes the best that loads.
        options: How a Whisper model is run.
        models: Where Whisper models are looked up.

    Raises:
        EngineUnavailableError: If the engine that is named cannot be used on this machine.
    """

    def whisper() -> Transcriber:
        return WhisperTranscriber(
            models.require(options.model),
            model_name=options.model,
            device=options.device,
            compute_type=_compute_type(options),
            batch_size=options.batch_size,
            beam_size=options.beam_size,
            threads=options.threads,
        )

    match choice:
        case EngineChoice.AUTO:
            selected = select_engine(whisper, PocketsphinxTranscriber)
        case EngineChoice.FASTER_WHISPER:
            selected = select_engine(whisper)
        case EngineChoice.POCKETSPHINX:
            selected = select_engine(PocketsphinxTranscriber)
    warnings = tuple(
        TranscriptWarning(
            WarningCode.ENGINE_FALLBACK, f"{selected.engine.name} was used instead. {rejection.message}"
        )
        for rejection in selected.rejections
    )
    return selected.engine, warnings


def _compute_type(options: WhisperOptions) -> str:
    """Return the compute type that is meant, with `auto` decided by the device."""
    if options.compute_type != "auto":
        return options.compute_type
    # Imported here because the service itself never loads an engine.
    import ctranslate2

    is_gpu = options.device == "cuda" or (
        options.device == "auto" and ctranslate2.get_cuda_device_count() > 0
    )
    return "float16" if is_gpu else "int8"
