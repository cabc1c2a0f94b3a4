"""Enhances transcripts in the child process; a result with equal input is taken from the object store."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from phonograph_events import PipelineVersion, Service
from phonograph_events.documents import TranscriptDocument
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.documents import from_document, to_document
from phonograph_transcription.domain.enhancement import RULES_VERSION, EnhancementRules, Improvement, enhance
from phonograph_transcription.domain.results import EnhancedContent, StoredTranscript
from phonograph_transcription.domain.tasks import EnhanceTask


class CachedEnhancement(BaseModel):
    """An enhancement in the object store, under the hash of its input (T0-23)."""

    document: TranscriptDocument
    improvements: list[Improvement]
    metadata: dict[str, Any]


class TranscriptEnhancer:
    """Executes the jobs of enhancement."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def enhance(self, task: EnhanceTask, progress: Progress) -> StoredTranscript:
        """Apply the rules of a task to its transcript.

        Args:
            task: Where the transcript is stored, and the rules.
            progress: Called with the fraction done and the stage.

        Raises:
            PermanentError: With reason `missing_object` or `damaged_object` if the transcript cannot be read.
        """
        progress(0.0, "enhancing")
        source = self._objects.document(task.transcript_uri, TranscriptDocument)
        key = _cache_key(source, task.rules)
        cached = self._find(key)
        is_cached = cached is not None
        if cached is None:
            enhanced = enhance(from_document(source), task.rules)
            cached = CachedEnhancement(
                document=to_document(enhanced.transcript, PipelineVersion.V2),
                improvements=list(enhanced.improvements),
                metadata=enhanced.metadata,
            )
            self._objects.put(key, cached.model_dump_json().encode())
        progress(0.9, "storing")
        result = f"{result_key(task.media.media_id, Service.TRANSCRIPTION)}.json"
        uri = self._objects.put(result, cached.document.model_dump_json().encode())
        transcript = from_document(cached.document, language_probability=task.language_probability)
        content = EnhancedContent(tuple(cached.improvements), cached.metadata | {"is_cached": is_cached})
        return StoredTranscript(transcript, uri, task.used, enhanced=content)

    def _find(self, key: str) -> CachedEnhancement | None:
        try:
            return self._objects.document(self._objects.uri(key), CachedEnhancement)
        except PermanentError:
            return None  # it was never computed, or is damaged and is computed again


def _cache_key(source: TranscriptDocument, rules: EnhancementRules) -> str:
    """Return the key of an enhancement: that of everything on which it depends."""
    everything = [RULES_VERSION, asdict(rules), source.model_dump(mode="json")]
    content = json.dumps(everything, sort_keys=True)
    return f"enhancements/{hashlib.sha256(content.encode()).hexdigest()}.json"
