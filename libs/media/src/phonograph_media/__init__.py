"""Probing, decoding, resampling and cutting of audio and video with PyAV.

Every time is counted in seconds from the first sample of sound; without sound, from the first frame.
"""

from phonograph_media.cut import cut
from phonograph_media.decode import decode_blocks, decode_mono, decode_stereo
from phonograph_media.errors import MediaError, Reason
from phonograph_media.probe import AudioStream, Chapter, Probe, VideoStream, probe
from phonograph_media.rendition import (
    SAMPLE_RATE_HZ,
    Rendition,
    make_rendition,
    read_rendition,
    read_rendition_pcm,
)
from phonograph_media.silence import Region, audio_silences, blank_frames
from phonograph_media.video_frames import thumbnail

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioStream",
    "Chapter",
    "MediaError",
    "Probe",
    "Reason",
    "Region",
    "Rendition",
    "VideoStream",
    "audio_silences",
    "blank_frames",
    "cut",
    "decode_blocks",
    "decode_mono",
    "decode_stereo",
    "make_rendition",
    "probe",
    "read_rendition",
    "read_rendition_pcm",
    "thumbnail",
]
