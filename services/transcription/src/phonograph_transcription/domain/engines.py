"""The engines of the service and their options."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from phonograph_events import Options, Preset
from phonograph_transcription.exceptions import BadOptionsError


class EngineChoice(StrEnum):
    """Values of the setting for the engine; all but `AUTO` are names of engines as results report them."""

    AUTO = "auto"
    FASTER_WHISPER = "faster-whisper"
    POCKETSPHINX = "pocketsphinx"


RANKED_MODELS = ("large-v3", "large-v2", "large-v3-turbo", "medium", "small", "base", "tiny")
"""Models for many languages, the most accurate first."""
RANKED_ENGLISH_MODELS = (
    "large-v3",
    "large-v2",
    "distil-large-v3",
    "large-v3-turbo",
    "medium.en",
    "medium",
    "small.en",
    "small",
    "base.en",
    "base",
    "tiny.en",
    "tiny",
)
"""The same with those that know English only."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""A model or `owner/repository`; a request must not name other folders of the machine."""


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """Options of a Whisper model."""

    model: str
    """Name, repository or folder of a CTranslate2 model that is on this machine."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    compute_type: str = "auto"
    """A compute type of CTranslate2; `auto`: int8 on a CPU, float16 on a GPU; `default`: the model's own."""
    batch_size: int = 8
    """Chunks of 30 s at once."""
    beam_size: int = 5
    """Width of the search."""
    threads: int = 0
    """Threads on a CPU; 0 for OMP_NUM_THREADS."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Which engine is wanted, and how a Whisper model is run."""

    choice: EngineChoice
    whisper: WhisperOptions

    def adapt(self, options: Options, is_present: Callable[[str], bool]) -> "EnginePlan":
        """Return the plan for a recording, from the plan of the settings.

        A model or an engine that is requested by name is used or fails; it is not replaced by another one.
        `fast` decodes greedily; `accurate` searches wider, with the best model on this machine unless a model
        is requested or the settings name a model of unknown rank.

        Args:
            options: Options of the recording or of the request to run again.
            is_present: Returns whether a Whisper model is on this machine.

        Raises:
            BadOptionsError: If an engine, model or preset does not exist, or they contradict each other.
        """
        choice = self.choice if options.engine is None else _to_choice(options.engine)
        whisper = self.whisper
        if options.model is not None:
            if choice is EngineChoice.POCKETSPHINX and options.engine is not None:
                raise BadOptionsError(f"pocketsphinx has one model; it cannot use {options.model!r}.")
            if not _NAME.fullmatch(options.model):
                raise BadOptionsError(
                    f"{options.model!r} is not the name of a model; see `phonograph models list`."
                )
            choice = EngineChoice.FASTER_WHISPER
            whisper = replace(whisper, model=options.model)
        match options.preset:
            case None | Preset.BALANCED:
                pass
            case Preset.FAST:
                whisper = replace(whisper, beam_size=1)
            case Preset.ACCURATE:
                model = whisper.model
                if options.model is None:
                    model = _find_best_model(model, options.language, is_present)
                whisper = replace(whisper, model=model, beam_size=max(2 * whisper.beam_size, 10))
            case preset:
                raise BadOptionsError(f"There is no preset {preset!r}; use one of {', '.join(Preset)}.")
        return EnginePlan(choice, whisper)


def _to_choice(engine: str) -> EngineChoice:
    if engine not in set(EngineChoice):
        raise BadOptionsError(f"There is no engine {engine!r}; use one of {', '.join(EngineChoice)}.")
    return EngineChoice(engine)


def _find_best_model(default: str, language: str | None, is_present: Callable[[str], bool]) -> str:
    """Return the best model on this machine for a language, which is the default if no better one is."""
    is_english = language is not None and language.lower().partition("-")[0] == "en"
    ranked = RANKED_ENGLISH_MODELS if is_english else RANKED_MODELS
    better = ranked[: ranked.index(default)] if default in ranked else ()
    if default not in {*RANKED_MODELS, *RANKED_ENGLISH_MODELS} and is_present(default):
        return default
    return next((name for name in better or ranked if is_present(name)), default)
