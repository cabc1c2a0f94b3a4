"""Chooses the engine: the named one, or the best that can load."""

import structlog

from phonograph_diarization.domain.ports import Diarizer
from phonograph_runtime.errors import EngineUnavailableError

logger = structlog.get_logger()


def loaded(diarizer: Diarizer) -> Diarizer:
    """The named engine, loaded.

    Raises:
        EngineUnavailableError: it cannot be loaded.
    """
    diarizer.load()
    logger.info("engine loaded", engine=diarizer.engine, model=diarizer.model)
    return diarizer


def first_that_loads(*candidates: Diarizer) -> Diarizer:
    """The first engine that can load, best first; the log says why a better one was passed over.

    Raises:
        EngineUnavailableError: none can.
    """
    reasons: list[str] = []
    for candidate in candidates:
        try:
            return loaded(candidate)
        except EngineUnavailableError as error:
            reasons.append(f"{candidate.engine}: {error.message}")
            logger.info("engine not available, trying the next", engine=candidate.engine, why=error.message)
    raise EngineUnavailableError(" ".join(["No diarization engine can be loaded.", *reasons]))
