"""The engine on recordings: silence, topics, clips, subtitles, thumbnails."""

import json
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np
import pysubs2
import pytest

from phonograph_events import MediaRef, uuid7
from phonograph_events.documents import (
    HighlightsDocument,
    SilenceRegion,
    TranscriptDocument,
    TranscriptSegment,
    Word,
)
from phonograph_highlights.domain.documents import region_to_document
from phonograph_highlights.domain.highlights import Clip, ContentSegment, HighlightsResult, SilenceResult
from phonograph_highlights.domain.regions import SilenceType
from phonograph_highlights.domain.tasks import DetectSilenceTask, SegmentTask
from phonograph_highlights.inference.clip_writer import ClipWriter
from phonograph_highlights.inference.engine import HighlightsEngine
from phonograph_highlights.inference.silence import SilenceDetector
from phonograph_highlights.inference.tfidf import TfidfSegmenter
from phonograph_media import MediaError, find_silences, make_rendition, probe, read_rendition
from phonograph_runtime.objects import ObjectStore

RATE_HZ, FRAME_RATE, SIZE = 16_000, 5, (160, 90)
COOKING = "dough flour oven butter yeast recipe crust bake"
ROME = "senate emperor legion province caesar republic consul army"


def lecture(*, lines: int = 10) -> list[list[Word]]:
    """Return lines on two topics: 8 words in 3.2 s, then a pause of 0.8 s; 2.8 s between the topics."""
    spoken: list[list[Word]] = []
    now_s = 1.0
    for topic in (COOKING, ROME):
        for i in range(lines):
            words = topic.split()
            words = words[i % 8 :] + words[: i % 8]
            spoken.append(
                [
                    Word(word=w, start=now_s + k * 0.4, end=now_s + k * 0.4 + 0.4, confidence=0.9)
                    for k, w in enumerate(words)
                ]
            )
            now_s += 4.0
        now_s += 2.0
    return spoken


def sound_of(lines: list[list[Word]], duration_s: float) -> np.ndarray:
    """Return noise during each line and silence between them; shape (samples,), s16."""
    samples = np.zeros(round(duration_s * RATE_HZ), np.int16)
    noise = np.random.default_rng(1).normal(0, 6000, samples.size).clip(-20_000, 20_000).astype(np.int16)
    for line in lines:
        spoken = slice(round(line[0].start * RATE_HZ), round(line[-1].end * RATE_HZ))
        samples[spoken] = noise[spoken]
    return samples


def write_recording(
    path: Path, sound: np.ndarray, *, picture: bool = False, blank: tuple[float, float] = (0, 0)
) -> Path:
    """Write a recording; its picture is gray and gets lighter, and is black in the span `blank`."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=FRAME_RATE) if picture else None
        track = file.add_stream("aac" if picture else "pcm_s16le", rate=RATE_HZ, layout="mono")
        if video is not None:
            video.width, video.height = SIZE
            video.pix_fmt = "yuv420p"
            count = len(sound) * FRAME_RATE // RATE_HZ
            for number in range(count):
                light = 0 if blank[0] <= number / FRAME_RATE < blank[1] else 80 + 100 * number // count
                pixels = np.full((SIZE[1], SIZE[0], 3), light, np.uint8)
                image = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                image.pts, image.time_base = number, Fraction(1, FRAME_RATE)
                file.mux(video.encode(image))
            file.mux(video.encode(None))
        for at in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, at : at + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, Fraction(1, RATE_HZ)
            file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return path


def media_of(path: Path, objects: ObjectStore, folder: Path) -> MediaRef:
    target = folder / "rendition.wav"
    rendition = make_rendition(path, target)
    return MediaRef(
        media_id=uuid7(),
        uri=path.as_uri(),
        file_name=path.name,
        file_size=path.stat().st_size,
        kind="video" if probe(path).video else "audio",
        mime_type="video/mp4",
        duration_s=rendition.duration_s,
        file_hash="0" * 64,
        secondary_hash="0" * 32,
        content_fp=rendition.content_fp,
        rendition_uri=objects.put(f"renditions/{uuid4().hex}.wav", target),
    )


def put_transcript(objects: ObjectStore, lines: list[list[Word]]) -> str:
    document = TranscriptDocument(
        pipeline_version="v1",
        engine="test",
        model="test",
        language="en",
        text="",
        segments=[
            TranscriptSegment(start=line[0].start, end=line[-1].end, text="", words=line) for line in lines
        ],
    )
    return objects.put("transcript.json", document.model_dump_json().encode())


def segment_task(media: MediaRef, transcript_uri: str | None, silence_uri: str | None = None) -> SegmentTask:
    return SegmentTask(
        media=media, result_id=uuid7(), version=1, transcript_uri=transcript_uri, silence_uri=silence_uri
    )


def check_progress(fraction: float, stage: str) -> None:
    assert 0 <= fraction <= 1
    assert stage


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore((tmp_path / "objects").as_uri())


def engine_with(objects: ObjectStore, detector: SilenceDetector) -> HighlightsEngine:
    return HighlightsEngine(objects, detector=detector, segmenter=TfidfSegmenter(), clips=ClipWriter(objects))


@pytest.fixture
def engine(objects: ObjectStore) -> HighlightsEngine:
    return engine_with(objects, SilenceDetector(objects))


@pytest.fixture
def fetch(objects: ObjectStore, tmp_path: Path) -> Callable[[str], Path]:
    def to_file(uri: str) -> Path:
        target = tmp_path / uri.rpartition("/")[2]
        target.write_bytes(objects.get(uri))
        return target

    return to_file


def test_a_lecture_becomes_two_clips_with_subtitles_and_thumbnails(
    objects: ObjectStore, engine: HighlightsEngine, fetch: Callable[[str], Path], tmp_path: Path
) -> None:
    """L-05, L-22, C-46: the picture is blank from before the pause between the topics into the second."""
    lines = lecture()
    path = write_recording(tmp_path / "a lecture #1.mp4", sound_of(lines, 86), picture=True, blank=(34, 66))
    media = media_of(path, objects, tmp_path)

    first = engine.detect_silence(DetectSilenceTask(media=media), check_progress)
    result = engine.segment(
        segment_task(media, put_transcript(objects, lines), silence_uri=first.document_uri), check_progress
    )

    assert {region.type for region in result.regions} == set(SilenceType)
    pause = next(r for r in result.regions if r.type is SilenceType.BOTH and r.start_s < 41 < r.end_s)
    assert (pause.start_s, pause.end_s) == (pytest.approx(40.2, abs=0.1), pytest.approx(43, abs=0.1))
    assert result.reason is None
    assert [segment.topic.title.split(",")[0].lower() in COOKING for segment in result.segments] == [
        True,
        False,
    ]
    assert all(3 <= len(segment.topic.keywords) <= 10 for segment in result.segments)
    assert [(clip.start_s, clip.end_s) for clip in result.clips] == [
        (pytest.approx(0.8, abs=0.1), pytest.approx(40.4, abs=0.1)),
        (pytest.approx(42.8, abs=0.1), pytest.approx(82.4, abs=0.1)),
    ]
    for clip, segment in zip(result.clips, result.segments, strict=True):
        check_clip(clip, segment, fetch, tmp_path)
    document = HighlightsDocument.model_validate_json(objects.get(result.document_uri))
    assert [clip.clip_id for clip in document.clips] == [clip.clip_id for clip in result.clips]
    assert len(document.silence_regions) == len(result.regions)
    repeated = engine.segment(segment_task(media, put_transcript(objects, lines)), check_progress)
    assert [*map(region_to_document, repeated.regions)] == document.silence_regions


def check_clip(clip: Clip, segment: ContentSegment, fetch: Callable[[str], Path], folder: Path) -> None:
    assert clip.clip_id.startswith("clip_")
    assert clip.segment_id == segment.segment_id
    file = fetch(clip.media.uri)
    cut = probe(file)
    assert cut.video is not None
    assert cut.duration_s == pytest.approx(clip.end_s - clip.start_s, abs=0.25)
    make_rendition(file, folder / "clip.wav")
    loud = np.flatnonzero(np.abs(read_rendition(folder / "clip.wav")) > 0.05)
    assert loud[0] / RATE_HZ == pytest.approx(segment.start_s - clip.start_s, abs=0.1)
    for stored in (clip.srt, clip.vtt):
        cues = pysubs2.load(str(fetch(stored.uri)))
        assert cues[0].start / 1000 == pytest.approx(segment.start_s - clip.start_s, abs=0.002)
        assert cues[-1].end / 1000 <= clip.end_s - clip.start_s + 0.001
        assert max(len(line) for cue in cues for line in cue.plaintext.split("\n")) <= 42
        assert sum(len(cue.plaintext.split()) for cue in cues) == 10 * 8
    with av.open(str(fetch(clip.thumbnail.uri))) as picture:
        assert next(picture.decode(video=0)).to_ndarray(format="gray").mean() > 60


def test_clips_of_sound_alone_have_no_thumbnails(
    objects: ObjectStore, engine: HighlightsEngine, fetch: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = lecture()
    media = media_of(write_recording(tmp_path / "talk.wav", sound_of(lines, 86)), objects, tmp_path)

    result = engine.segment(segment_task(media, put_transcript(objects, lines)), check_progress)

    assert len(result.segments) == len(result.clips) == 2
    assert [clip.thumbnail for clip in result.clips] == [None, None]
    assert fetch(result.clips[0].media.uri).suffix == ".m4a"
    assert {region.type for region in result.regions} == {SilenceType.AUDIO_SILENCE}
    assert set(result.stage_seconds) == {"silence_detection", "segmentation", "compilation"}
    assert len(result.transcript) == 20


def test_less_than_a_minute_of_speech_is_one_segment(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    lines = lecture(lines=4)
    media = media_of(write_recording(tmp_path / "short.wav", sound_of(lines, 38)), objects, tmp_path)

    result = engine.segment(segment_task(media, put_transcript(objects, lines)), check_progress)

    assert result.reason == "too_short"
    (segment,) = result.segments
    assert (segment.start_s, segment.end_s, segment.topic.importance) == (1.0, pytest.approx(34.2), 1.0)
    assert len(result.clips) == 1


@pytest.mark.parametrize("transcript", ["empty", "none"])
def test_a_recording_without_speech_has_silence_and_no_segment(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path, transcript: str
) -> None:
    media = media_of(
        write_recording(tmp_path / "quiet.wav", np.zeros(3 * RATE_HZ, np.int16)), objects, tmp_path
    )
    uri = put_transcript(objects, []) if transcript == "empty" else None

    result = engine.segment(segment_task(media, uri), check_progress)

    assert (result.reason, result.segments, result.clips) == ("no_speech", (), ())
    assert [(r.start_s, r.end_s) for r in result.regions] == [(0, pytest.approx(3, abs=0.05))]


def test_without_the_original_only_the_clips_are_missing(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    lines = lecture()
    path = write_recording(tmp_path / "missing.wav", sound_of(lines, 86))
    media = media_of(path, objects, tmp_path)
    path.unlink()

    result = engine.segment(segment_task(media, put_transcript(objects, lines)), check_progress)

    assert (len(result.segments), result.clips, result.reason) == (2, (), "missing")
    assert "missing.wav" in result.warnings[0]


def test_a_missing_video_is_an_error_with_a_reason(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    path = write_recording(tmp_path / "missing.mp4", sound_of(lecture(lines=1), 8), picture=True)
    media = media_of(path, objects, tmp_path)
    path.unlink()

    with pytest.raises(MediaError, match=r"missing\.mp4") as error:
        engine.detect_silence(DetectSilenceTask(media=media), check_progress)
    assert error.value.reason == "missing"


def test_silence_regions_of_the_first_stage_are_read_from_its_document(
    objects: ObjectStore, tmp_path: Path
) -> None:
    def refuse(path: Path) -> list[Any]:
        raise AssertionError(f"{path} was decoded again")

    media = media_of(write_recording(tmp_path / "talk.wav", np.zeros(RATE_HZ, np.int16)), objects, tmp_path)
    document = HighlightsDocument(silence_regions=[SilenceRegion(start=0.1, end=0.9, type="audio_silence")])
    uri = objects.put("silence.json", document.model_dump_json().encode())
    detector = SilenceDetector(objects, find_silences=refuse, find_blanks=refuse)

    result = engine_with(objects, detector).segment(segment_task(media, None, uri), check_progress)

    assert [(r.start_s, r.end_s, r.type) for r in result.regions] == [(0.1, 0.9, SilenceType.AUDIO_SILENCE)]


def test_results_cross_the_pipe_of_the_child_process(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    media = media_of(write_recording(tmp_path / "talk.wav", np.zeros(RATE_HZ, np.int16)), objects, tmp_path)
    first = engine.detect_silence(DetectSilenceTask(media=media), check_progress)
    second = engine.segment(segment_task(media, None), check_progress)

    assert pickle.loads(pickle.dumps((first, second))) == (first, second)
    assert isinstance(first, SilenceResult)
    assert isinstance(second, HighlightsResult)


def test_a_clip_of_a_real_recording_begins_and_ends_in_silence(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / "sample.wav"
    if not path.exists():
        pytest.skip(f"{path} does not exist; test_clips_of_sound_alone_have_no_thumbnails covers the same")
    stm = [line.split(maxsplit=6) for line in path.with_suffix(".stm").read_text().splitlines()]
    segments = [
        TranscriptSegment(start=float(row[3]), end=float(row[4]), text=row[6].split(">")[-1].strip())
        for row in stm
        if len(row) > 6
    ]
    document = TranscriptDocument(
        pipeline_version="v1", engine="test", model="test", language="en", text="", segments=segments
    )
    media = media_of(path, objects, tmp_path)
    uri = objects.put("transcript.json", document.model_dump_json().encode())

    result = engine.segment(segment_task(media, uri), check_progress)

    assert result.reason == "too_short"
    (clip,) = result.clips
    assert any(r.start_s <= clip.start_s <= r.end_s for r in find_silences(path))


def test_the_sample_lecture_has_its_two_topics(
    objects: ObjectStore, engine: HighlightsEngine, tmp_path: Path
) -> None:
    samples = Path(__file__).parents[3] / "tests" / "samples"
    truth = json.loads((samples / "truth.json").read_text())["lecture.mp4"]
    segments = [
        TranscriptSegment(start=topic["start"] + 0.2, end=topic["end"] - 0.2, text=topic["text"])
        for topic in truth["topics"]
    ]
    document = TranscriptDocument(
        pipeline_version="v1", engine="test", model="test", language=None, text="", segments=segments
    )
    media = media_of(samples / "lecture.mp4", objects, tmp_path)
    uri = objects.put("transcript.json", document.model_dump_json().encode())

    result = engine.segment(segment_task(media, uri), check_progress)

    blank = next(region for region in result.regions if region.type is SilenceType.BOTH)
    assert (blank.start_s, blank.end_s) == (
        pytest.approx(truth["blank"]["start"], abs=0.3),
        pytest.approx(truth["blank"]["end"], abs=0.3),
    )
    first, second = result.clips
    assert "river" in result.segments[0].topic.keywords
    assert "bread" in result.segments[1].topic.keywords
    assert first.end_s < second.start_s
    assert blank.start_s - 1 < first.end_s < blank.end_s
    assert blank.start_s < second.start_s < blank.end_s + 1
    assert first.thumbnail
    assert second.thumbnail
