"""Why speakers cannot be told apart; none of these gets better by trying again."""

from phonograph_runtime.errors import PermanentError


class BadOptionsError(PermanentError):
    """The wanted numbers of speakers contradict each other."""

    reason = "bad_options"


class BadRenditionError(PermanentError):
    """The rendition is damaged or is not 16 kHz mono; carries the word of the media library."""

    reason = "bad_rendition"


class BadRttmError(PermanentError):
    """A line is not RTTM."""

    reason = "bad_rttm"
