"""States of recordings and of rename proposals (C-10)."""

from enum import StrEnum


class RecordingStatus(StrEnum):
    """State of a recording."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DELETED = "deleted"
    """A newer file has taken its path."""


class ProposalStatus(StrEnum):
    """State of a rename proposal."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"
    FAILED = "failed"
