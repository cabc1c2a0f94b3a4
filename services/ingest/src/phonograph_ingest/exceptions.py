"""Why a file cannot be taken in."""


class RejectedError(Exception):
    """The file is at fault; `reason` is a lower-case word, `message` a sentence for the producer."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
