"""Generator of the sample recordings in this folder and of `truth.json`, which describes their content.

Run as `.venv/bin/python tests/samples/make.py`. The same versions of flite and FFmpeg produce the same bytes.
The samples are committed, so flite (voices rms and slt of CMU ARCTIC) is needed only to change them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

HERE = Path(__file__).parent
SPEECH_RATE_HZ = 16_000
MUSIC_RATE_HZ = 44_100
FILM_SIZE = (320, 180)
FILM_FPS = 5

Samples = NDArray[np.float32]
Picture = NDArray[np.uint8]

TALK = [
    ("rms", "Good morning, and thank you for coming. Let us talk about the new school."),
    ("slt", "I have read the plan, and I think that the building is too small."),
    ("rms", "How many children will come in the first year?"),
    ("slt", "Two hundred this year, and three hundred the year after."),
    ("rms", "Then we need more money, or a smaller garden."),
    ("slt", "The garden is important. Let us ask the city for help."),
    ("rms", "I agree. We will write to the city on Monday."),
]


@dataclass(frozen=True)
class Slide:
    """A slide of the lecture and the sentences spoken while it is visible."""

    title: str
    lines: tuple[str, ...]
    color: tuple[int, int, int]
    sentences: tuple[str, ...]


RIVER, BREAD = (28, 70, 120), (120, 66, 24)
LECTURE = [
    [
        Slide(
            "THE RIVER",
            ("RAIN", "SPRING", "VALLEY"),
            RIVER,
            (
                "Every river begins with rain.",
                "The rain falls on the mountains, and the water runs down between the rocks.",
                "A small stream meets another stream, and soon there is a river in the valley.",
                "The river brings water to every farm on its way to the sea.",
            ),
        ),
        Slide(
            "WATER MOVES STONES",
            ("FAST WATER", "SLOW WATER"),
            RIVER,
            (
                "Fast water carries stones and sand.",
                "Slow water lets the sand fall to the ground.",
                "So the river cuts the mountain away and builds new land near the sea.",
            ),
        ),
        Slide(
            "FLOODS",
            ("HEAVY RAIN", "HIGH WATER"),
            RIVER,
            (
                "After heavy rain the river rises over its banks.",
                "The water covers the fields, and the people wait until the river goes down.",
                "A wall of stones keeps the high water out of the town.",
            ),
        ),
    ],
    [
        Slide(
            "MAKING BREAD",
            ("FLOUR", "SALT", "YEAST"),
            BREAD,
            (
                "Now we make bread.",
                "Good bread needs flour, salt, and yeast.",
                "The baker puts the flour on the table and works it with both hands.",
                "Too much salt makes the bread hard, and without salt it has no taste.",
            ),
        ),
        Slide(
            "TIME",
            ("ONE HOUR", "A WARM KITCHEN"),
            BREAD,
            (
                "Then the bread must rest in a warm kitchen.",
                "The yeast eats the sugar in the flour and makes small bubbles.",
                "After an hour the loaf is twice as big.",
            ),
        ),
        Slide(
            "THE OVEN",
            ("HOT OVEN", "BROWN CRUST"),
            BREAD,
            (
                "The oven must be very hot when the loaf goes in.",
                "When the crust is brown, the baker takes the bread out of the oven.",
                "A good loaf of bread stays fresh for three days.",
                "Warm bread tastes best with butter.",
            ),
        ),
    ],
]
BLANK_S = 3.6


@dataclass(frozen=True)
class Piece:
    """A piece of music that repeats four chords."""

    artist: str
    title: str
    bpm: int
    key: str
    scale: str
    chords: tuple[tuple[int, ...], ...]
    """MIDI notes; the first note of each chord is its root."""


C, G, F, D = (48, 55, 60, 64), (55, 59, 62, 67), (53, 57, 60, 65), (50, 57, 62, 66)
AM, DM, EM, BM = (57, 60, 64, 69), (50, 57, 62, 65), (52, 59, 64, 67), (59, 62, 66, 71)
GROOVE = Piece("Ada and the Loops", "Night Train", 124, "A", "minor", (AM, DM, EM, AM))
MIX = (
    Piece("Ada and the Loops", "First Light", 100, "C", "major", (C, F, G, C)),
    Piece("Northbound", "Iron Bridge", 128, "E", "minor", (EM, AM, BM, EM)),
    Piece("Mira Sol", "Last Ferry", 140, "G", "major", (G, C, D, G)),
)
# Frames are 1/75 s.
MIX_STARTS = ((0, 0, 0), (0, 19, 37), (0, 40, 12))
MIX_END_S = 60.0
GROOVE_TAGS = {
    "title": GROOVE.title,
    "artist": GROOVE.artist,
    "album": "Sample Songs",
    "genre": "House",
    "date": "2024",
    "track": "3/8",
}


def main() -> None:
    """Write all samples and `truth.json`."""
    if shutil.which("flite") is None:
        sys.exit(
            "flite, which synthesizes speech, is not installed. Install it (Debian: apt-get install flite)."
        )
    (HERE / "rotten").mkdir(exist_ok=True)
    truth = {
        "talk.ogg": make_talk(HERE / "talk.ogg"),
        "groove.mp3": make_groove(HERE / "groove.mp3"),
        "lecture.mp4": make_lecture(HERE / "lecture.mp4"),
        "mix.mp3": make_mix(HERE / "mix.mp3"),
        **{f"rotten/{name}": {"reason": reason} for name, reason in make_rotten(HERE / "rotten").items()},
    }
    (HERE / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    sizes = {name: (HERE / name).stat().st_size for name in truth}
    for name, size in sizes.items():
        print(f"{size:>9,}  {name}")
    print(f"{sum(sizes.values()):>9,}  in total")


def make_talk(path: Path) -> dict[str, object]:
    """Write a talk with two speakers and return its description."""
    turns, parts, at = [], [np.zeros(SPEECH_RATE_HZ // 2, np.float32)], SPEECH_RATE_HZ // 2
    for number, (voice, text) in enumerate(TALK):
        speech = speak(voice, text)
        turns.append(
            {
                "start": round(at / SPEECH_RATE_HZ, 2),
                "end": round((at + len(speech)) / SPEECH_RATE_HZ, 2),
                "speaker": voice,
                "text": text,
            }
        )
        pause = np.zeros(round((0.35, 0.5, 0.4)[number % 3] * SPEECH_RATE_HZ), np.float32)
        parts += [speech, pause]
        at += len(speech) + len(pause)
    sound = add_hiss(np.concatenate(parts), seed=1)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        encode_sound(file, "libopus", sound[np.newaxis], SPEECH_RATE_HZ, 48_000, 32_000)
    return {
        "duration_s": round(len(sound) / SPEECH_RATE_HZ, 2),
        "speakers": 2,
        "turns": turns,
        "text": " ".join(text for _, text in TALK),
    }


def make_groove(path: Path) -> dict[str, object]:
    """Write a piece of music whose name does not match its tags, and return its description."""
    bars = 14
    seconds = bars * 4 * 60 / GROOVE.bpm
    with av.open(str(path), "w", options={"fflags": "+bitexact", "id3v2_version": "3"}) as file:
        file.metadata.update(GROOVE_TAGS)
        cover = cover_jpeg()
        stream = file.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 240, 240, "yuvj420p"
        stream.disposition = Disposition.attached_pic
        music = synthesize(GROOVE, seconds, seed=2)
        encode_sound(file, "libmp3lame", music, MUSIC_RATE_HZ, MUSIC_RATE_HZ, 96_000, cover=cover)
    return {
        "duration_s": round(seconds, 2),
        "bpm": GROOVE.bpm,
        "key": GROOVE.key,
        "scale": GROOVE.scale,
        "tags": GROOVE_TAGS,
        "has_cover": True,
    }


def make_mix(path: Path) -> dict[str, object]:
    """Write three pieces as one file with a cue sheet, and return its description."""
    starts_s = [minutes * 60 + seconds + frames / 75 for minutes, seconds, frames in MIX_STARTS]
    ends_s = [*starts_s[1:], MIX_END_S]
    parts = [
        synthesize(piece, end_s - start_s, seed=10 + number)
        for number, (piece, start_s, end_s) in enumerate(zip(MIX, starts_s, ends_s, strict=True))
    ]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        encode_sound(file, "libmp3lame", np.concatenate(parts, axis=1), MUSIC_RATE_HZ, MUSIC_RATE_HZ, 64_000)
    lines = [
        "REM GENRE Electronic",
        "REM DATE 2024",
        'REM COMMENT "Made by tests/samples/make.py"',
        'PERFORMER "Harbour Radio"',
        'TITLE "Three Pieces for a Ferry"',
        f'FILE "{path.name}" MP3',
    ]
    for number, (piece, (minutes, seconds, frames)) in enumerate(zip(MIX, MIX_STARTS, strict=True), start=1):
        lines += [
            f"  TRACK {number:02} AUDIO",
            f'    TITLE "{piece.title}"',
            f'    PERFORMER "{piece.artist}"',
            f"    INDEX 01 {minutes:02}:{seconds:02}:{frames:02}",
        ]
    path.with_suffix(".cue").write_text("\r\n".join(lines) + "\r\n", newline="")
    return {
        "duration_s": MIX_END_S,
        "cue": {"performer": "Harbour Radio", "title": "Three Pieces for a Ferry", "genre": "Electronic"},
        "tracks": [
            {
                "position": number,
                "start_time": round(start_s, 3),
                "end_time": round(end_s, 3),
                "artist": piece.artist,
                "title": piece.title,
                "bpm": piece.bpm,
                "key": piece.key,
                "scale": piece.scale,
            }
            for number, (piece, start_s, end_s) in enumerate(zip(MIX, starts_s, ends_s, strict=True), start=1)
        ],
    }


def make_lecture(path: Path) -> dict[str, object]:
    """Write a lecture and return its description.

    It has two topics on slides, a black and silent part between them, and a camera picture in a corner.
    """
    parts: list[Samples] = []
    timeline: list[tuple[float, Slide | None]] = []
    topics = []
    at_s = 0.0

    def add(samples: Samples) -> None:
        nonlocal at_s
        parts.append(samples)
        at_s += len(samples) / SPEECH_RATE_HZ

    # Each pause ends on a video frame, so that the described times are exact for sound and picture.
    def pause(seconds: float) -> None:
        frames = np.ceil((at_s + seconds) * FILM_FPS - 1e-6)
        add(np.zeros(round((frames / FILM_FPS - at_s) * SPEECH_RATE_HZ), np.float32))

    blank = {}
    for number, slides in enumerate(LECTURE):
        if number:
            blank = {"start": round(at_s, 2), "end": round(at_s + BLANK_S, 2)}
            timeline.append((at_s, None))
            pause(BLANK_S)
        start_s, sentences = at_s, []
        for slide in slides:
            timeline.append((at_s, slide))
            pause(0.2)
            for sentence in slide.sentences:
                sentences.append(sentence)
                add(speak("rms", sentence))
                pause(0.15)
        topics.append(
            {
                "start": round(start_s, 2),
                "end": round(at_s, 2),
                "title": slides[0].title.lower(),
                "text": " ".join(sentences),
            }
        )
    pause(0.4)
    sound = add_hiss(np.concatenate(parts), seed=3)
    frames = lecture_frames(timeline, at_s)
    write_film(path, frames, sound[np.newaxis])
    return {
        "duration_s": round(at_s, 2),
        "topics": topics,
        "blank": blank,
        "slides": [
            {"start": round(start_s, 2), "title": slide.title if slide else None}
            for start_s, slide in timeline
        ],
        "text": " ".join(str(topic["text"]) for topic in topics),
    }


def make_rotten(folder: Path) -> dict[str, str]:
    """Write files that must be rejected, and return the reason code of each."""
    frames = [slide_picture(LECTURE[0][0], at_s / FILM_FPS) for at_s in range(6 * FILM_FPS)]
    write_film(folder / "mute.mp4", frames, None)
    write_film(folder / "truncated.mp4", frames, synthesize(GROOVE, 6.0, seed=4)[:1], MUSIC_RATE_HZ)
    whole = (folder / "truncated.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: whole.index(b"moov") // 2])
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "noise.mp3").write_bytes(np.random.default_rng(5).bytes(20_000))
    (folder / "letter.mp3").write_text("Dear reader, this is a letter and no music.\n" * 20)
    return {
        "mute.mp4": "no_audio",
        "truncated.mp4": "truncated",
        "empty.mp3": "empty",
        "noise.mp3": "not_media",
        "letter.mp3": "not_media",
    }


def speak(voice: str, text: str) -> Samples:
    """Return a text spoken by flite, trimmed and with equal loudness, at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            if file.getframerate() != SPEECH_RATE_HZ:
                sys.exit(
                    f"flite produced {file.getframerate()} Hz, not {SPEECH_RATE_HZ} Hz. Use another voice."
                )
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    samples: Samples = pcm.astype(np.float32) / np.float32(32_768)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    samples = samples[max(0, loud[0] - 400) : loud[-1] + 800]
    loudness = float(np.sqrt(np.mean(samples**2)))
    return samples * np.float32(0.1 / loudness)


def add_hiss(samples: Samples, seed: int) -> Samples:
    """Return speech with the hiss of a quiet room, at -66 dB."""
    hiss = np.random.default_rng(seed).standard_normal(len(samples)) * 10 ** (-66 / 20)
    return np.clip(samples + hiss, -0.99, 0.99).astype(np.float32)


def synthesize(piece: Piece, seconds: float, seed: int) -> Samples:
    """Return drums, bass and chords that fade out at the end, shape (2, samples) at 44.1 kHz.

    Args:
        piece: Tempo and chords.
        seconds: Length in seconds.
        seed: Seed of the noise in the drums.
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * MUSIC_RATE_HZ)
    left, right = np.zeros(count, np.float32), np.zeros(count, np.float32)
    beat_s = 60 / piece.bpm

    def put(sound: Samples, at_s: float, on_left: float, on_right: float) -> None:
        at = round(at_s * MUSIC_RATE_HZ)
        sound = sound[: max(0, count - at)]
        left[at : at + len(sound)] += sound * np.float32(on_left)
        right[at : at + len(sound)] += sound * np.float32(on_right)

    snare_noise = rng.standard_normal(MUSIC_RATE_HZ // 5).astype(np.float32)
    hat_noise = np.diff(rng.standard_normal(MUSIC_RATE_HZ // 20 + 1)).astype(np.float32)
    for beat in range(int(np.ceil(seconds / beat_s))):
        at_s = beat * beat_s
        chord = piece.chords[beat // 4 % len(piece.chords)]
        put(kick(), at_s, 0.55, 0.55)
        if beat % 2:
            put(snare_noise * decay(len(snare_noise), 0.05), at_s, 0.07, 0.07)
        put(hat_noise * decay(len(hat_noise), 0.015), at_s + beat_s / 2, 0.04, 0.06)
        for half in (0.0, 0.5):
            put(note(chord[0] - 12, beat_s * 0.5, 4), at_s + half * beat_s, 0.16, 0.16)
        if beat % 4 == 0:
            for position, pitch in enumerate(chord[1:]):
                put(note(pitch, beat_s * 4, 5), at_s, 0.1 + 0.02 * position, 0.14 - 0.02 * position)
        put(note(chord[beat % len(chord)] + 12, beat_s, 3), at_s + beat_s / 2, 0.05, 0.07)
    both: Samples = np.stack([left, right])
    fade_s = 0.4
    fade = np.minimum(1, (seconds - np.arange(count) / MUSIC_RATE_HZ) / fade_s)
    return both * (fade * 0.7 / float(np.abs(both).max())).astype(np.float32)


def kick() -> Samples:
    """Return a kick drum: a falling sine of 0.2 s."""
    t = np.arange(MUSIC_RATE_HZ // 5) / MUSIC_RATE_HZ
    falling: Samples = np.sin(2 * np.pi * (50 * t - 4 * np.exp(-30 * t))).astype(np.float32)
    return falling * np.exp(-14 * t).astype(np.float32)


def note(pitch: int, seconds: float, partials: int) -> Samples:
    """Return a plucked tone with decreasing partials.

    Args:
        pitch: MIDI note.
        seconds: Length in seconds.
        partials: Number of partials.
    """
    t = np.arange(round(seconds * MUSIC_RATE_HZ)) / MUSIC_RATE_HZ
    hz = 440 * 2 ** ((pitch - 69) / 12)
    tone: Samples = np.zeros(len(t), np.float32)
    for k in range(1, partials + 1):
        tone += (np.sin(2 * np.pi * hz * k * t) / k**1.5).astype(np.float32)
    fade = np.minimum(1, np.minimum(t / 0.01, (seconds - t) / 0.02))
    return tone * (fade * np.exp(-1.5 * t)).astype(np.float32)


def decay(count: int, time_constant_s: float) -> Samples:
    """Return an exponential envelope."""
    return np.exp(-np.arange(count) / MUSIC_RATE_HZ / time_constant_s).astype(np.float32)


def lecture_frames(timeline: Sequence[tuple[float, Slide | None]], end_s: float) -> Iterator[Picture]:
    """Yield the picture of every frame: a slide with the camera, or black."""
    for number in range(round(end_s * FILM_FPS)):
        at_s = number / FILM_FPS
        slide = [slide for start_s, slide in timeline if start_s <= at_s + 1e-6][-1]
        yield slide_picture(slide, at_s) if slide else np.zeros((FILM_SIZE[1], FILM_SIZE[0], 3), np.uint8)


def slide_picture(slide: Slide, at_s: float) -> Picture:
    """Return a slide with a camera picture of a nodding person at the bottom right."""
    picture = np.full((FILM_SIZE[1], FILM_SIZE[0], 3), 240, np.uint8)
    picture[:36] = slide.color
    draw_text(picture, slide.title, 12, 8, 2, (255, 255, 255))
    for number, line in enumerate(slide.lines):
        top = 58 + 30 * number
        picture[top + 3 : top + 11, 18:26] = slide.color
        draw_text(picture, line, 36, top, 2, (40, 40, 40))
    width, height = 80, 60
    camera = np.full((height, width, 3), (70, 90, 80), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    nod, sway = 3 * np.sin(2.1 * at_s), 5 * np.sin(0.7 * at_s)
    head = ((rows - 24 - nod) / 14) ** 2 + ((columns - 40 - sway) / 11) ** 2 < 1
    body = ((rows - 62) / 22) ** 2 + ((columns - 40 - sway / 2) / 26) ** 2 < 1
    camera[body] = (60, 60, 110)
    camera[head] = (215, 175, 150)
    picture[-height - 8 : -8, -width - 8 : -8] = camera
    return picture


# A to Z, each with five columns of seven points; the lowest bit is the top.
FONT = bytes.fromhex(
    "7C1211127C 7F49494936 3E41414122 7F4141413E 7F49494941 7F09090901 3E41415173 7F0808087F 00417F4100 "
    "2040413F01 7F08142241 7F40404040 7F021C027F 7F0408107F 3E4141413E 7F09090906 3E4151215E 7F09192946 "
    "2649494932 03017F0103 3F4040403F 1F2040201F 3F4038403F 6314081463 0304780403 6159494D43"
)


def draw_text(
    picture: Picture, text: str, left: int, top: int, size: int, color: tuple[int, int, int]
) -> None:
    """Draw capital letters.

    Args:
        picture: Picture to draw on, shape (height, width, 3).
        text: Capital letters and spaces.
        left: Left edge in pixels.
        top: Top edge in pixels.
        size: Width of a point of a letter in pixels.
        color: RGB from 0 to 255.
    """
    for place, letter in enumerate(text):
        first = 5 * (ord(letter) - ord("A"))
        for column, bits in enumerate(FONT[first : first + 5] if letter != " " else b""):
            for row in (row for row in range(7) if bits >> row & 1):
                y, x = top + row * size, left + (6 * place + column) * size
                picture[y : y + size, x : x + size] = color


def cover_jpeg() -> bytes:
    """Return a square cover picture as a JPEG."""
    rows, columns = np.mgrid[:240, :240]
    picture = np.zeros((240, 240, 3), np.uint8)
    picture[..., 0], picture[..., 2] = rows // 3 + 40, columns // 3 + 60
    picture[(rows - 120) ** 2 + (columns - 120) ** 2 < 70**2] = (240, 200, 60)
    draw_text(picture, "NIGHT TRAIN", 24, 200, 3, (255, 255, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cover.jpg"
        av.VideoFrame.from_ndarray(picture, format="rgb24").save(path)
        return path.read_bytes()


def write_film(
    path: Path, pictures: Iterator[Picture] | list[Picture], sound: Samples | None, rate: int = SPEECH_RATE_HZ
) -> None:
    """Write H.264 and, if there is sound, AAC as an MP4.

    Args:
        path: File to write.
        pictures: Picture of every frame.
        sound: Shape (channels, samples), or None for a film without sound.
        rate: Sample rate of the sound, in Hz.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(
            "libx264", rate=FILM_FPS, options={"crf": "30", "preset": "veryslow", "threads": "1", "g": "50"}
        )
        stream.width, stream.height = FILM_SIZE
        stream.pix_fmt = "yuv420p"
        packets = []
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FILM_FPS)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if sound is None:
            file.mux(packets)
        else:
            encode_sound(file, "aac", sound, rate, rate, 40_000, before=packets)


def encode_sound(
    file: av.container.OutputContainer,
    codec: Literal["aac", "libopus", "libmp3lame"],
    samples: Samples,
    rate: int,
    coded_rate: int,
    bit_rate: int,
    *,
    before: Sequence["Packet[Any]"] = (),
    cover: bytes | None = None,
) -> None:
    """Add an audio stream to a file and mux it with packets of other streams.

    Args:
        file: Open file.
        codec: Encoder.
        samples: Shape (channels, samples).
        rate: Sample rate of `samples`, in Hz.
        coded_rate: Sample rate of the encoded sound, in Hz.
        bit_rate: Bits per second.
        before: Packets of other streams, not muxed yet.
        cover: JPEG to attach to the first video stream.
    """
    layout = "stereo" if len(samples) == 2 else "mono"
    stream = file.add_stream(codec, rate=coded_rate, layout=layout)
    stream.bit_rate = bit_rate
    pcm = (samples.T * 32_767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(
        format=stream.format.name,
        layout=layout,
        rate=coded_rate,
        frame_size=stream.codec_context.frame_size or 1_024,
    )
    packets = list(before)
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        packets += stream.encode(part)
    packets += stream.encode(None)
    if cover is not None:
        picture = Packet(cover)
        picture.stream = file.streams.video[0]
        file.mux(picture)
    for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
        file.mux(packet)


if __name__ == "__main__":
    main()
