"""One look at a file: content type, hashes, probe, tags, the 16 kHz rendition."""

import hashlib
import tempfile
import time
from pathlib import Path

import puremagic
import xxhash
from tinytag import TinyTag, TinyTagException

from phonograph_events import Chapter, MediaKind, Profile, Stream
from phonograph_ingest.domain.media import Intake, Rejection, canonical_uri, display_name, local_path
from phonograph_ingest.domain.request import IngestTask
from phonograph_ingest.exceptions import RejectedError
from phonograph_media import MediaError, Probe, make_rendition, probe
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

CHUNK_BYTES = 1024 * 1024
FALLBACK_MIME = {MediaKind.AUDIO: "audio/x-unknown", MediaKind.VIDEO: "video/x-unknown"}


class LocalFileReader:
    """Reads local files and puts their renditions into the object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def read(self, task: IngestTask, progress: Progress) -> Intake | Rejection:
        """See `phonograph_ingest.domain.ports.FileReader`."""
        try:
            if task.profile not in set(Profile):
                words = ", ".join(Profile)
                raise RejectedError(
                    f"There is no profile {task.profile!r}; use one of {words}.", reason="unknown_profile"
                )
            return self._read(local_path(task.uri), progress)
        except (RejectedError, MediaError) as error:
            return Rejection(canonical_uri(task.uri), display_name(task.uri), error.reason, error.message)

    def _read(self, path: Path, progress: Progress) -> Intake:
        started = time.perf_counter()
        found = probe(path)
        if found.audio is None:
            raise RejectedError(
                f"{path.name} has no sound; Phonograph works on recordings.", reason="no_audio"
            )
        progress(0.1, "hashing")
        size, sha256, xxh3 = _hashes(path)
        progress(0.3, "decoding")
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            target = Path(folder) / "rendition.wav"
            rendition = make_rendition(path, target)
            key = f"renditions/{rendition.content_fp.partition(':')[2]}.wav"
            rendition_uri = self._objects.put(key, target)
        kind = MediaKind.VIDEO if found.video else MediaKind.AUDIO
        return Intake(
            uri=path.as_uri(),
            file_name=path.name,
            file_size=size,
            file_hash=sha256,
            secondary_hash=xxh3,
            mime_type=_mime_type(path, kind),
            kind=kind,
            duration_s=rendition.duration_s,
            content_fp=rendition.content_fp,
            silent=rendition.is_silent,
            container=found.container,
            bit_rate=found.bit_rate,
            audio=_audio(found),
            video=_video(found),
            chapters=tuple(Chapter(start=c.start_s, end=c.end_s, title=c.title) for c in found.chapters),
            tags=_tags(path, found),
            rendition_uri=rendition_uri,
            warnings=rendition.warnings,
            preprocessing_s=time.perf_counter() - started,
        )


def _hashes(path: Path) -> tuple[int, str, str]:
    """Size in bytes, SHA-256 and XXH3-128, in one pass."""
    sha256, xxh3, size = hashlib.sha256(), xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            xxh3.update(chunk)
            size += len(chunk)
    return size, sha256.hexdigest(), xxh3.hexdigest()


def _mime_type(path: Path, kind: MediaKind) -> str:
    """The type that the content tells; the name only breaks ties."""
    try:
        matches = puremagic.magic_file(str(path))
    except (OSError, ValueError, puremagic.PureError):
        matches = []
    wanted = [match.mime_type for match in matches if match.mime_type.startswith(f"{kind}/")]
    return wanted[0] if wanted else FALLBACK_MIME[kind]


def _tags(path: Path, found: Probe) -> dict[str, list[str]]:
    """Tags in lower case; the container's own where tinytag does not read the format."""
    tags: dict[str, list[str]] = {key.lower(): [value] for key, value in found.tags.items() if value.strip()}
    try:
        read = TinyTag.get(str(path), tags=True, duration=False).as_dict()
    except (OSError, TinyTagException):
        return _printable(tags)
    for key, value in read.items():
        values = [str(item) for item in (value if isinstance(value, list) else [value]) if str(item).strip()]
        if key not in {"filename", "filesize"} and value is not None and values:
            tags[key.lower()] = values
    return _printable(tags)


def _printable(tags: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        key.replace("\x00", ""): [value.replace("\x00", " ").strip() for value in values]
        for key, values in tags.items()
    }


def _audio(found: Probe) -> Stream:
    audio = found.audio
    if audio is None:
        raise RejectedError("The file has no sound.", reason="no_audio")
    return Stream(
        codec=audio.codec,
        sample_rate_hz=audio.sample_rate_hz,
        channels=audio.channels,
        bit_rate=audio.bit_rate,
    )


def _video(found: Probe) -> Stream | None:
    video = found.video
    if video is None:
        return None
    return Stream(codec=video.codec, width=video.width, height=video.height, frame_rate=video.frame_rate)
