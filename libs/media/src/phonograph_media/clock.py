"""The clock of a recording: time 0 is where a player starts, and times continue over discontinuities.

`source.read_packets` puts every packet on this clock, so that sound, video, clips and regions agree.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA = "matroska,webm"
# Players show the times of these containers as they are stored; in others, the first time is arbitrary.
FORMATS_FROM_ZERO = {_MP4, _MATROSKA}
_FORMATS_WITHOUT_TIMES = {
    "mp3", "aac", "ac3", "eac3", "dts", "wav", "w64", "aiff", "au", "amr", "caf"
}  # fmt: skip
# A part of a live stream keeps the stream's times. No recorder waits as long for the first sound.
_MAX_LATE_START_S = 300
# FFmpeg's values (dts_delta_threshold): in a stream format, a larger step is a new clock, not a pause.
STREAM_FORMATS = {"mpegts", "mpeg", "ogg"}
_MAX_STREAM_STEP_S = 10
_MAX_STEP_S = 6 * 3600
_MAX_STEP_BACK_S = 1


def time_zero(container: InputContainer) -> Fraction:
    """Return the container time, in seconds, of time 0 of the recording."""
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if isinstance(stream, AudioStream | VideoStream)
        and not stream.disposition & Disposition.attached_pic
        and stream.start_time is not None
        and stream.time_base is not None
    ]
    first = min(starts, default=Fraction(0))
    if container.format.name in FORMATS_FROM_ZERO and first <= _MAX_LATE_START_S:
        return Fraction(0)
    return first


def has_time_stamps(stream: AudioStream) -> bool:
    """Return whether the container of a stream stores times; FFmpeg counts them for other formats."""
    return stream.container.format.name not in _FORMATS_WITHOUT_TIMES


@dataclass(slots=True)
class Clock:
    """Moves the times of packets, in file order, to the clock of the recording.

    A step in the times of one stream that is too large for a pause is a discontinuity, as in a joined MPEG
    transport stream. It shifts the packets of all streams that follow it.
    """

    max_step_s: float
    offsets_s: list[float]
    """Added to container times; the last is the current one, and the one before may still be in use."""
    _ends_s: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, container: InputContainer, starts_at_s: Fraction = Fraction(0)) -> "Clock":
        """Return the clock of a container.

        Args:
            container: The open container.
            starts_at_s: Time of the recording at which the container begins, if it is not the first part.
        """
        is_stream = container.format.name in STREAM_FORMATS
        return cls(
            max_step_s=_MAX_STREAM_STEP_S if is_stream else _MAX_STEP_S,
            offsets_s=[float(starts_at_s - time_zero(container))],
        )

    def move(self, packet: "Packet[Stream]") -> None:
        """Change the times of a packet of sound or video to the clock of the recording."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is None or not isinstance(packet.stream, AudioStream | VideoStream):
            return
        tick_s = float(packet.time_base)
        index = packet.stream.index
        offset_s = self._choose_offset(index, stamp * tick_s)
        self._ends_s[index] = (stamp + (packet.duration or 0)) * tick_s + offset_s
        if ticks := round(offset_s / tick_s):
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def leave_out(self, packet: "Packet[Stream]") -> None:
        """Let the times of later packets continue as if a packet, which is a tag, were not there."""
        if packet.duration and packet.time_base:
            length_s = float(packet.duration * packet.time_base)
            self.offsets_s = [offset_s - length_s for offset_s in self.offsets_s]
            self._ends_s[packet.stream.index] -= length_s

    def _choose_offset(self, index: int, stamp_s: float) -> float:
        end_s = self._ends_s.get(index)
        if end_s is None:
            return self.offsets_s[-1]
        # A stream may pause for as long as another one continues.
        last_s = max(self._ends_s.values()) + self.max_step_s
        for offset_s in reversed(self.offsets_s):
            if end_s - _MAX_STEP_BACK_S <= stamp_s + offset_s <= last_s:
                return offset_s
        self.offsets_s = [self.offsets_s[-1], end_s - stamp_s]
        return self.offsets_s[-1]
