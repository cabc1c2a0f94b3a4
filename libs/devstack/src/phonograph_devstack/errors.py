"""The one error of the local stack."""

from phonograph_events.errors import PhonographError


class StackError(PhonographError):
    """The stack cannot do what was asked; the message is shown to the user unchanged."""

    reason = "stack"
