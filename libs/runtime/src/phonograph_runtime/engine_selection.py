"""Selection of the best engine that can be used on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import InferenceEngine

E = TypeVar("E", bound=InferenceEngine)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SelectedEngine(Generic[E]):
    """A loaded engine, and why better ones were passed over."""

    engine: E
    rejections: tuple[EngineUnavailableError, ...]
    """One for each candidate before it, in their order."""


def select_engine(*candidates: Callable[[], E]) -> SelectedEngine[E]:
    """Return the first engine that loads.

    Args:
        candidates: Constructors of engines, the best first; a constructor may raise as `load` does.

    Raises:
        EngineUnavailableError: The error of the only candidate, or one that lists those of all.
    """
    rejections: list[EngineUnavailableError] = []
    for create in candidates:
        try:
            engine = create()
            engine.load()
        except EngineUnavailableError as error:
            rejections.append(error)
            continue
        log = logger.bind(engine=engine.name, model=engine.model)
        for rejection in rejections:
            log.warning("engine fallback", **rejection.to_logging_context())
        log.info("engine loaded")
        return SelectedEngine(engine, tuple(rejections))
    if len(rejections) == 1:
        raise rejections[0]
    reasons = " ".join(error.message for error in rejections)
    raise EngineUnavailableError(f"No engine can be used on this machine. {reasons}")
