"""What can go wrong in an analysis, beside a file that cannot be decoded (`phonograph_media.MediaError`)."""


class AnalysisError(Exception):
    """The engine failed on sound that could be decoded."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
