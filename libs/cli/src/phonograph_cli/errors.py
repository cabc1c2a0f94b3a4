"""Errors of the command line; `phonograph_runtime.errors` draws the tree that they belong to."""

from phonograph_events.errors import PhonographError


class MissingTopicError(PhonographError):
    """Kafka lacks topics that the command needs."""

    reason = "missing_topic"


class GroupIsReadingError(PhonographError):
    """The offsets of a consumer group cannot be set while a member of the group is reading."""

    reason = "group_is_reading"


class NothingToExportError(PhonographError):
    """The recording has no result of the kind that the format holds; the message has the reason."""

    reason = "nothing_to_export"


class UnknownVersionError(PhonographError):
    """A result of a recording has no version with this number."""

    reason = "unknown_version"


class BadFilterError(PhonographError):
    """A condition by which recordings are selected cannot be read."""

    reason = "bad_filter"


class SkipError(PhonographError):
    """A service cannot go on behind the offset that was named; the message has the reason."""

    reason = "skip_refused"


class RequestRefusedError(PhonographError):
    """A service did not answer a request, or refused it; the message has the reason."""

    reason = "request_refused"
