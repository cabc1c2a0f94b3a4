"""Sound at the times of its time stamps: gaps become silence, and overlaps are removed."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

# Containers round times to 1 ms, and encoders start a few ms late; players ignore both.
_TOLERANCE = 1 / 40
_MAX_FILLED_S = 6 * 3600
# Small corrections that come often are the error of a wrong sample rate, not of the sound.
_SMALL_S = 1 / 10
_MAX_SMALL_SHARE = 1 / 10
_MAX_OVERLAP_S = 1


@dataclass(slots=True)
class Corrections:
    """Seconds of sound that time stamps added or removed."""

    late_start_s: float = 0.0
    filled_s: float = 0.0
    gaps: int = 0
    removed_s: float = 0.0
    is_ignored: bool = False
    """The time stamps contradict the number of samples, and are not followed any further."""


class PlacedFrame(NamedTuple):
    """A frame at its time."""

    silence_s: float
    """Length of the silence before the frame."""
    frame: AudioFrame | None
    """None if the frame overlaps completely with the sound before."""


class ClockFollower:
    """Makes the number of samples agree with the time stamps of frames, within 25 ms."""

    def __init__(
        self,
        corrections: Corrections,
        *,
        from_s: float = 0.0,
        has_time_stamps: bool = True,
        may_overlap: bool = True,
    ) -> None:
        """Create the follower.

        Args:
            corrections: Where it records what it does.
            from_s: Time of the recording at which the sound begins; earlier samples are removed.
            has_time_stamps: Whether the file stores times. Otherwise FFmpeg guesses them, and only the
                number of samples counts.
            may_overlap: Whether times that run backwards mean that sound overlaps. Otherwise the times start
                again, as in joined FLAC files.
        """
        self.position = from_s
        """End of the sound so far, in seconds of the recording."""
        self._corrections = corrections
        self._skew = 0.0
        self._small = 0.0
        self._taken = 0.0
        self._is_exact = from_s > 0
        self._has_time_stamps = has_time_stamps
        self._may_overlap = may_overlap
        self._is_first = True
        self._missing_s = 0.0

    def miss(self, seconds: float) -> None:
        """Note a packet that could not be decoded; without time stamps, it becomes silence."""
        if not self._has_time_stamps and not (self._is_first and self._is_exact):
            self._missing_s += seconds

    def follow(self, frame: AudioFrame) -> "PlacedFrame":
        """Return a frame, without what overlaps, and the silence before it."""
        length = frame.samples / frame.sample_rate
        late = self._measure_lateness(frame)
        tolerance = 0.0 if self._is_first and self._is_exact else _TOLERANCE
        self._taken += length
        silence_s, kept = 0.0, frame
        if late > tolerance:
            if self._accepts_gap(late):
                silence_s = self._fill(late)
            elif self._has_time_stamps:
                self._skew += late
        elif late < -tolerance:
            if self._accepts_overlap(-late):
                surplus = min(frame.samples, round(-late * frame.sample_rate))
                if not self._is_first:
                    self._corrections.removed_s += surplus / frame.sample_rate
                if surplus == frame.samples:
                    return PlacedFrame(silence_s, None)
                kept = _without_start(frame, surplus)
            else:
                self._skew += late
        self._is_first = False
        self.position += kept.samples / kept.sample_rate
        return PlacedFrame(silence_s, kept)

    def _measure_lateness(self, frame: AudioFrame) -> float:
        if not self._has_time_stamps and not (self._is_first and self._is_exact):
            missing_s, self._missing_s = self._missing_s, 0.0
            return missing_s
        if frame.pts is None or frame.time_base is None:
            return 0.0
        return float(frame.pts * frame.time_base) - self._skew - self.position

    def _accepts_gap(self, gap: float) -> bool:
        self._count_small(gap)
        corrections = self._corrections
        return (
            not corrections.is_ignored
            and corrections.filled_s + corrections.late_start_s + gap <= _MAX_FILLED_S
        )

    def _accepts_overlap(self, overlap: float) -> bool:
        if self._is_first:
            return True
        self._count_small(overlap)
        is_plausible = overlap <= _MAX_OVERLAP_S and self._may_overlap
        return is_plausible and not self._corrections.is_ignored

    def _count_small(self, correction: float) -> None:
        if self._is_first or correction >= _SMALL_S:
            return
        self._small += correction
        if self._small > 1 + _MAX_SMALL_SHARE * self._taken:
            self._corrections.is_ignored = True

    def _fill(self, gap: float) -> float:
        if self._is_first:
            self._corrections.late_start_s = gap
        else:
            self._corrections.filled_s += gap
            self._corrections.gaps += 1
        self.position += gap
        return gap


def _without_start(frame: AudioFrame, samples: int) -> AudioFrame:
    channels = len(frame.layout.channels)
    values = frame.to_ndarray()
    kept: NDArray[Any] = values[:, samples if frame.format.is_planar else samples * channels :]
    rest = AudioFrame.from_ndarray(
        np.ascontiguousarray(kept), format=frame.format.name, layout=frame.layout.name
    )
    rest.sample_rate = frame.sample_rate
    return rest
