"""What can be wrong with the graph."""

from phonograph_runtime.errors import PermanentError, TransientError


class RefusedByGraphError(PermanentError):
    """Neo4j says no to a value or a statement; trying again will not help."""

    reason = "refused_by_graph"


class TooLargeForGraphError(TransientError):
    """A transaction needs more memory than Neo4j gives one; fewer events may fit."""

    reason = "too_large_for_graph"


class LostGraphError(Exception):
    """The graph has gone back behind what it held: somebody has to rebuild it, nothing may be parked."""


class RebuildError(PermanentError):
    """A rebuild broke off; the graph stays closed until the next one ends."""

    reason = "rebuild_failed"
