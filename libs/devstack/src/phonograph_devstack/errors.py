"""The error of the local stack."""

from phonograph_events.errors import PhonographError


class StackError(PhonographError):
    """An operation of the stack failed; the message is shown to the user unchanged."""

    reason = "stack"
