"""From a stored rendition to stored documents."""

import json
import wave

import numpy as np
import pytest

from phonograph_diarization.domain.rttm import from_rttm
from phonograph_diarization.domain.task import DiarizeTask
from phonograph_diarization.exceptions import BadOptionsError, BadRenditionError
from phonograph_diarization.inference.rendition import RenditionDiarizer
from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer
from phonograph_events import MediaRef, Options, uuid7
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.objects import ObjectStore


def store(objects, samples):
    path = objects.local_path(objects.put("renditions/x.wav", b""))
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes((samples * 32_767).astype("<i2").tobytes())
    return objects.uri("renditions/x.wav")


def task(rendition_uri, **options):
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


def run(objects, job):
    return RenditionDiarizer(objects, SileroMfccDiarizer).run(job, lambda _done, _stage: None)


def test_the_documents_say_what_the_result_says(talk, tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    job = task(store(objects, talk(("low", 5), ("high", 5), ("low", 4))[0]))
    done = run(objects, job)
    document = json.loads(objects.get(done.document.uri))
    assert (document["engine"], document["count"]) == ("silero-mfcc", 2)
    turns = [(turn.start, turn.end, turn.speaker) for turn in done.diarization.turns]
    assert [(turn["start"], turn["end"], turn["speaker"]) for turn in document["turns"]] == turns
    rttm = from_rttm(objects.get(done.rttm.uri).decode())[str(job.media.media_id)]
    assert [(turn.start, turn.end, turn.speaker) for turn in rttm] == turns
    assert done.rttm.size == len(objects.get(done.rttm.uri))
    assert done.document.key.startswith(f"results/{job.media.media_id}/diarization/")


def test_the_producers_number_of_speakers_counts(talk, tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    uri = store(objects, talk(("low", 5), ("high", 5), ("low", 4))[0])
    assert len(run(objects, task(uri, speakers=1)).diarization.voices) == 1
    with pytest.raises(BadOptionsError):
        run(objects, task(uri, min_speakers=3, max_speakers=2))


def test_silence_has_a_document_and_no_rttm(tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    done = run(objects, task(store(objects, np.zeros(32_000))))
    assert (done.diarization.reason, done.rttm) == ("no_speech", None)
    assert json.loads(objects.get(done.document.uri))["turns"] == []


def test_a_missing_or_foreign_rendition_is_told(tmp_path):
    objects = ObjectStore(tmp_path.as_uri())
    with pytest.raises(PermanentError, match=r"gone\.wav"):
        run(objects, task(objects.uri("renditions/gone.wav")))
    with pytest.raises(BadRenditionError):
        run(objects, task(objects.put("renditions/text.wav", b"no sound")))
