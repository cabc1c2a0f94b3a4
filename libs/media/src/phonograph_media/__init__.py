"""Probing, decoding, resampling and cutting of audio and video with PyAV.

Times are in seconds as a player shows them: they follow the container's time stamps, see `clock`.
"""

from phonograph_media.cut import cut
from phonograph_media.decode import decode_blocks, decode_mono, decode_stereo
from phonograph_media.errors import MediaError, Reason
from phonograph_media.mix import mix_down
from phonograph_media.probe import AudioStream, Chapter, Probe, VideoStream, probe
from phonograph_media.rendition import (
    SAMPLE_RATE_HZ,
    Rendition,
    RenditionReader,
    Samples,
    make_rendition,
    open_rendition,
    read_rendition,
    read_rendition_pcm,
)
from phonograph_media.silence import Region, find_blank_frames, find_silences
from phonograph_media.tracks import Track
from phonograph_media.video_frames import write_thumbnail

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioStream",
    "Chapter",
    "MediaError",
    "Probe",
    "Reason",
    "Region",
    "Rendition",
    "RenditionReader",
    "Samples",
    "Track",
    "VideoStream",
    "cut",
    "decode_blocks",
    "decode_mono",
    "decode_stereo",
    "find_blank_frames",
    "find_silences",
    "make_rendition",
    "mix_down",
    "open_rendition",
    "probe",
    "read_rendition",
    "read_rendition_pcm",
    "write_thumbnail",
]
