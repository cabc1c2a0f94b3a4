"""Why a recording has no highlights."""

from phonograph_runtime.errors import PermanentError


class HighlightsError(PermanentError):
    """The recording is at fault; `reason` is a lower-case word, `message` a sentence."""

    reason = "no_highlights"
