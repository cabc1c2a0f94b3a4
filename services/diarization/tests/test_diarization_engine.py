"""The engine, from a stored rendition to stored documents."""

import json
import wave

import numpy as np
import pytest

from phonograph_diarization.domain.diarization import DiarizationWarning, WarningCode
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.exceptions import BadOptionsError
from phonograph_diarization.inference.engine import DiarizationEngine
from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer
from phonograph_events import MediaRef, Options, uuid7
from phonograph_media import MediaError
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.objects import ObjectStore

from .support.rttm import from_rttm

FALLBACK = DiarizationWarning(WarningCode.ENGINE_FALLBACK, "silero-mfcc was used instead.")


def put_rendition(objects, samples):
    path = objects.local_path(objects.put("renditions/x.wav", b""))
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes((samples * 32_767).astype("<i2").tobytes())
    return objects.uri("renditions/x.wav")


def make_task(rendition_uri, **options):
    media = MediaRef(
        media_id=uuid7(),
        uri="file:///talk.wav",
        file_name="talk.wav",
        file_size=1,
        kind="audio",
        mime_type="audio/x-wav",
        duration_s=1,
        file_hash="0" * 64,
        secondary_hash="0" * 32,
        content_fp="pcm16k1:0",
        rendition_uri=rendition_uri,
        options=Options(**options),
    )
    return DiarizeTask(media=media, meeting_id=uuid7())


def diarize(objects, task):
    engine = DiarizationEngine(objects, lambda _choice: (SileroMfccDiarizer(), (FALLBACK,)))
    return engine.diarize(task, lambda _done, _stage: None)


def test_the_documents_contain_the_result(talk, tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    task = make_task(put_rendition(objects, talk(("low", 5), ("high", 5), ("low", 4))[0]))
    stored = diarize(objects, task)
    document = json.loads(objects.get(stored.document.uri))
    assert (document["engine"], document["count"]) == ("silero-mfcc", 2)
    turns = [(turn.start_s, turn.end_s, turn.speaker) for turn in stored.diarization.turns]
    assert [(turn["start"], turn["end"], turn["speaker"]) for turn in document["turns"]] == turns
    assert document["exclusive"] == document["turns"]
    assert document["warnings"] == [{"code": "engine_fallback", "message": FALLBACK.message}]
    assert stored.diarization.warnings == (FALLBACK,)
    rttm = from_rttm(objects.get(stored.rttm.uri).decode())[str(task.media.media_id)]
    assert [(turn.start_s, turn.end_s, turn.speaker) for turn in rttm] == turns
    assert stored.rttm.size_bytes == len(objects.get(stored.rttm.uri))
    assert stored.document.key.startswith(f"results/{task.media.media_id}/diarization/")


def test_the_producers_number_of_speakers_is_respected(talk, tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    uri = put_rendition(objects, talk(("low", 5), ("high", 5), ("low", 4))[0])
    assert len(diarize(objects, make_task(uri, speakers=1)).diarization.voices) == 1
    with pytest.raises(BadOptionsError):
        diarize(objects, make_task(uri, min_speakers=3, max_speakers=2))


def test_silence_has_a_document_and_no_rttm(tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    stored = diarize(objects, make_task(put_rendition(objects, np.zeros(32_000))))
    assert (stored.diarization.reason, stored.rttm) == ("no_speech", None)
    assert json.loads(objects.get(stored.document.uri))["turns"] == []


def test_a_missing_or_invalid_rendition_is_an_error(tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    with pytest.raises(PermanentError, match=r"gone\.wav"):
        diarize(objects, make_task(objects.uri("renditions/gone.wav")))
    with pytest.raises(MediaError):
        diarize(objects, make_task(objects.put("renditions/text.wav", b"no sound")))
