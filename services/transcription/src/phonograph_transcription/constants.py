"""Fixed values of the transcription service."""

from typing import Final

TRANSCRIBE: Final = "transcribe"
"""The kind of job that recognises speech."""
MERGE: Final = "merge"
"""The kind of job that gives the words of a transcript their speakers."""
MERGE_PRIORITY: Final = 1000
"""Added to the file's own: a merge takes milliseconds and should not wait for recognitions."""

PREVIEW_LENGTH: Final = 2000
"""Characters of the text that the event carries."""
