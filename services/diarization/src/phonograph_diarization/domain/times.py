"""Speakers of two meetings of one recording who speak at the same times, and so are the same."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

SAME_SHARE: Final = 0.7
"""Share of the speech of both speakers at the same times from which on they are the same voice."""

Times = Sequence[tuple[float, float]]
"""Start and end of each turn of one speaker, in seconds and in the order of time."""


def match_by_time(earlier: Mapping[UUID, Times], later: Mapping[UUID, Times]) -> dict[UUID, UUID]:
    """Return the speakers of a later meeting who are speakers of an earlier one, whatever the models.

    Args:
        earlier: Times of each speaker of the earlier meeting.
        later: Times of each speaker of the later meeting.

    Returns:
        The earlier speaker of each later one; a speaker who was split or joined since has none.
    """
    shared = [
        (_overlap_s(new_times, old_times), new, old)
        for new, new_times in later.items()
        for old, old_times in earlier.items()
    ]
    matches: dict[UUID, UUID] = {}
    # Two speakers may speak over each other all the time: the more similar times count, and only once.
    for shared_s, new, old in sorted(shared, reverse=True):
        needed_s = SAME_SHARE * max(_total_s(later[new]), _total_s(earlier[old]))
        if shared_s > 0 and shared_s >= needed_s and new not in matches and old not in matches.values():
            matches[new] = old
    return matches


def _total_s(times: Times) -> float:
    return sum(end - start for start, end in times)


def _overlap_s(one: Times, other: Times) -> float:
    total_s, first, second = 0.0, 0, 0
    while first < len(one) and second < len(other):
        start = max(one[first][0], other[second][0])
        end = min(one[first][1], other[second][1])
        total_s += max(end - start, 0.0)
        if one[first][1] < other[second][1]:
            first += 1
        else:
            second += 1
    return total_s
