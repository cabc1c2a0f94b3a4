"""The statuses of the lecture tables and those that events carry (C-10)."""

from enum import StrEnum

from phonograph_events import JobStatus


class RecordingStatus(StrEnum):
    """State of a row of `jobs` (L-02)."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class LogStatus(StrEnum):
    """State of a row of `processing_logs` (L-13)."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


class Stage(StrEnum):
    """What is being done to a recording (L-14)."""

    UPLOADING = "uploading"
    SILENCE_DETECTION = "silence_detection"
    TRANSCRIPTION = "transcription"
    LAYOUT_ANALYSIS = "layout_analysis"
    CONTENT_ANALYSIS = "content_analysis"
    SEGMENTATION = "segmentation"
    COMPILATION = "compilation"
    COMPLETE = "complete"


class LayoutType(StrEnum):
    """How screen and camera share the picture (L-08)."""

    SIDE_BY_SIDE = "side_by_side"
    PICTURE_IN_PICTURE = "picture_in_picture"
    FULL_SCREEN = "full_screen"
    SPLIT_VERTICAL = "split_vertical"
    CUSTOM = "custom"


_RECORDING = {
    RecordingStatus.QUEUED: JobStatus.PENDING,
    RecordingStatus.RUNNING: JobStatus.PROCESSING,
    RecordingStatus.COMPLETED: JobStatus.COMPLETED,
    RecordingStatus.FAILED: JobStatus.FAILED,
}


def canonical(status: RecordingStatus) -> JobStatus:
    """The word that events carry."""
    return _RECORDING[status]


def recording_status(status: JobStatus) -> RecordingStatus:
    """Back from `canonical`; a job between two attempts is queued."""
    words = {word: ours for ours, word in _RECORDING.items()}
    return words.get(status, RecordingStatus.QUEUED)
