"""Errors of the graph-sync service."""

from phonograph_graph_sync.constants import SERVER
from phonograph_runtime.errors import PermanentError, TransientError, UnavailableError


class RefusedByGraphError(PermanentError):
    """Neo4j refuses a value or a statement; trying again will not help."""

    reason = "refused_by_graph"


class TooLargeForGraphError(TransientError):
    """A transaction needs more memory than Neo4j allows it; fewer events may fit."""

    reason = "too_large_for_graph"


class LostGraphError(UnavailableError):
    """The graph contains less than it did before: an operator has to rebuild it, and nothing is parked."""

    reason = "graph_lost"

    def __init__(self, message: str) -> None:
        super().__init__(message, server=SERVER)


class RebuildError(PermanentError):
    """A rebuild was not finished; the graph stays closed to other writers until a later one ends."""

    reason = "rebuild_failed"
