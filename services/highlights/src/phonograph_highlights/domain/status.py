"""Statuses and stages of the lecture tables."""

from enum import StrEnum


class RecordingStatus(StrEnum):
    """Status of a row of `jobs` (L-02)."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class LogStatus(StrEnum):
    """Status of a row of `processing_logs` (L-13)."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


class ProcessingStage(StrEnum):
    """Stage of the processing of a recording (L-14)."""

    UPLOADING = "uploading"
    SILENCE_DETECTION = "silence_detection"
    TRANSCRIPTION = "transcription"
    LAYOUT_ANALYSIS = "layout_analysis"
    CONTENT_ANALYSIS = "content_analysis"
    SEGMENTATION = "segmentation"
    COMPILATION = "compilation"
    COMPLETE = "complete"


class LayoutType(StrEnum):
    """Arrangement of screen and camera in the picture (L-08)."""

    SIDE_BY_SIDE = "side_by_side"
    PICTURE_IN_PICTURE = "picture_in_picture"
    FULL_SCREEN = "full_screen"
    SPLIT_VERTICAL = "split_vertical"
    CUSTOM = "custom"
