"""The engine of the service: reads files and stores their renditions, in the child process."""

import hashlib
import tempfile
import time
from pathlib import Path

import puremagic
import xxhash
from tinytag import TinyTag, TinyTagException

from phonograph_events import Chapter, MediaKind, Profile, Stream
from phonograph_ingest.domain.media import (
    MediaFile,
    RejectedFile,
    canonical_uri,
    display_name,
    require_local_path,
)
from phonograph_ingest.domain.tasks import IngestTask
from phonograph_ingest.exceptions import RejectedError
from phonograph_media import AudioStream, MediaError, Probe, VideoStream, make_rendition, probe
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

CHUNK_BYTES = 1024 * 1024
FALLBACK_MIME_TYPES = {MediaKind.AUDIO: "audio/x-unknown", MediaKind.VIDEO: "video/x-unknown"}


class IngestEngine:
    """Executes the jobs of the service."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def ingest(self, task: IngestTask, progress: Progress) -> MediaFile | RejectedFile:
        """Read a local file: content type, hashes, streams, tags, and its 16 kHz rendition, which is stored.

        A file that is at fault is a result, not an error: its job is completed, and its request is answered.

        Args:
            task: The file, and the profile that was requested.
            progress: Called with the fraction done and the stage.

        Raises:
            StorageError: If the rendition cannot be stored.
            StorageFullError: If no space is left for the rendition.
        """
        try:
            if task.profile not in set(Profile):
                raise RejectedError(
                    f"There is no profile {task.profile!r}; use one of {', '.join(Profile)}.",
                    reason="unknown_profile",
                )
            return self._read(require_local_path(task.uri), progress)
        except (RejectedError, MediaError) as error:
            return RejectedFile(canonical_uri(task.uri), display_name(task.uri), error.reason, error.message)

    def _read(self, path: Path, progress: Progress) -> MediaFile:
        started = time.perf_counter()
        # The probe comes first: it reads little and finds most files that cannot be used.
        probed = probe(path)
        if probed.audio is None:
            raise RejectedError(
                f"{path.name} has no audio; Phonograph works on recordings.", reason="no_audio"
            )
        progress(0.1, "hashing")
        size, sha256, xxh3 = _hash(path)
        progress(0.3, "decoding")
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            target = Path(folder) / "rendition.wav"
            rendition = make_rendition(path, target)
            # Named by its content: files with the same audio share one rendition.
            key = f"renditions/{rendition.content_fp.partition(':')[2]}.wav"
            rendition_uri = self._objects.put(key, target)
        kind = MediaKind.VIDEO if probed.video else MediaKind.AUDIO
        return MediaFile(
            uri=path.as_uri(),
            file_name=path.name,
            file_size=size,
            file_hash=sha256,
            secondary_hash=xxh3,
            mime_type=_detect_mime_type(path, kind),
            kind=kind,
            duration_s=rendition.duration_s,
            content_fp=rendition.content_fp,
            is_silent=rendition.is_silent,
            container=probed.container,
            bit_rate=probed.bit_rate,
            audio=_to_stream(probed.audio),
            video=None if probed.video is None else _to_stream(probed.video),
            chapters=tuple(Chapter(start=c.start_s, end=c.end_s, title=c.title) for c in probed.chapters),
            tags=_read_tags(path, probed),
            rendition_uri=rendition_uri,
            warnings=rendition.warnings,
            preprocessing_s=time.perf_counter() - started,
        )


def _hash(path: Path) -> tuple[int, str, str]:
    """Return size in bytes, SHA-256 and XXH3-128 of a file, read once."""
    sha256, xxh3, size = hashlib.sha256(), xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            xxh3.update(chunk)
            size += len(chunk)
    return size, sha256.hexdigest(), xxh3.hexdigest()


def _detect_mime_type(path: Path, kind: MediaKind) -> str:
    """Return the MIME type by content; the file name decides only between types that fit equally well."""
    try:
        matches = puremagic.magic_file(str(path))
    except (OSError, ValueError, puremagic.PureError):
        matches = []
    fitting = [match.mime_type for match in matches if match.mime_type.startswith(f"{kind}/")]
    return fitting[0] if fitting else FALLBACK_MIME_TYPES[kind]


def _read_tags(path: Path, probed: Probe) -> dict[str, list[str]]:
    """Return tags by lower-case name, from tinytag, and from the container where tinytag has none."""
    tags: dict[str, list[str]] = {key.lower(): [value] for key, value in probed.tags.items() if value.strip()}
    try:
        read = TinyTag.get(str(path), tags=True, duration=False).as_dict()
    except (OSError, TinyTagException):
        return _without_null_characters(tags)
    for key, value in read.items():
        values = [str(item) for item in (value if isinstance(value, list) else [value]) if str(item).strip()]
        if key not in {"filename", "filesize"} and value is not None and values:
            tags[key.lower()] = values
    return _without_null_characters(tags)


def _without_null_characters(tags: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return tags that PostgreSQL can store: JSONB has no U+0000."""
    return {
        key.replace("\x00", ""): [value.replace("\x00", " ").strip() for value in values]
        for key, values in tags.items()
    }


def _to_stream(stream: AudioStream | VideoStream) -> Stream:
    match stream:
        case AudioStream():
            return Stream(
                codec=stream.codec,
                sample_rate_hz=stream.sample_rate_hz,
                channels=stream.channels,
                bit_rate=stream.bit_rate,
            )
        case VideoStream():
            return Stream(
                codec=stream.codec,
                width=stream.width,
                height=stream.height,
                frame_rate=stream.frame_rate,
            )
