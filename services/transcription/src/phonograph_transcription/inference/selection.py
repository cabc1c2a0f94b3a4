"""Chooses the recogniser: the one that is asked for, or the best that this machine has."""

import structlog

from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.domain.engines import Engine, WhisperOptions
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.transcript import Warned, WarningCode
from phonograph_transcription.inference.models import ModelFolder
from phonograph_transcription.inference.pocketsphinx import PocketsphinxTranscriber
from phonograph_transcription.inference.whisper import WhisperTranscriber

_log = structlog.get_logger()


def choose(
    engine: Engine, whisper: WhisperOptions, models: ModelFolder
) -> tuple[Transcriber, tuple[Warned, ...]]:
    """A recogniser that is loaded, and what its results should say about the choice.

    Raises:
        EngineUnavailableError: the engine that was asked for by name cannot be used on this machine.
    """
    match engine:
        case Engine.POCKETSPHINX:
            transcriber: Transcriber = PocketsphinxTranscriber()
            warnings: tuple[Warned, ...] = ()
        case Engine.FASTER_WHISPER:
            transcriber, warnings = _whisper(whisper, models), ()
        case Engine.AUTO:
            transcriber, warnings = _best(whisper, models)
    transcriber.load()
    _log.info("engine chosen", asked=engine.value, engine=transcriber.name, model=transcriber.model)
    return transcriber, warnings


def _best(whisper: WhisperOptions, models: ModelFolder) -> tuple[Transcriber, tuple[Warned, ...]]:
    try:
        transcriber = _whisper(whisper, models)
        transcriber.load()
    except EngineUnavailableError as error:
        message = f"pocketsphinx did the work. {error.message}"
        _log.warning("engine fallback", engine="pocketsphinx", reason=error.reason, error=error.message)
        return PocketsphinxTranscriber(), (Warned(WarningCode.ENGINE_FALLBACK, message),)
    return transcriber, ()


def _whisper(options: WhisperOptions, models: ModelFolder) -> Transcriber:
    return WhisperTranscriber(
        models.require(options.model),
        model_name=options.model,
        device=options.device,
        compute_type=options.compute_type,
        batch_size=options.batch_size,
        beam_size=options.beam_size,
    )
