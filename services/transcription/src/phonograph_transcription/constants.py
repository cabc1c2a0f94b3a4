"""Fixed values of the transcription service."""

from typing import Final

TRANSCRIBE: Final = "transcribe"
"""The kind of job that recognizes speech."""
MERGE: Final = "merge"
"""The kind of job that assigns speakers to the words of a transcript."""
ENHANCE: Final = "enhance"
"""The kind of job that makes a transcript easier to read."""
MERGE_PRIORITY: Final = 1000
"""Added to that of the recording: a merge takes milliseconds and should not wait for recognitions."""

OPTIONS: Final = ("language", "preset", "engine", "model")
"""Options of a recording that a recognition depends on."""
PREVIEW_LENGTH: Final = 2000
"""Characters of the text that the event contains."""
