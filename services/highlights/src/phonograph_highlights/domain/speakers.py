"""The speakers of the segments of a talk."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from phonograph_events.documents import ContentSegment, TranscriptSegment


def attribute_segments(
    segments: Iterable[ContentSegment],
    transcript: Sequence[TranscriptSegment],
    speaker_ids: Mapping[str, UUID],
) -> list[ContentSegment]:
    """Return the segments with their speakers, in the order in which each of them begins.

    Args:
        segments: Segments of the talk.
        transcript: Transcript with the labels of the speakers.
        speaker_ids: Id of each speaker by its label; others are left out.
    """
    known = [
        (each.start, each.end, speaker_ids[each.speaker])
        for each in sorted(transcript, key=lambda each: each.start)
        if each.speaker is not None and each.speaker in speaker_ids
    ]
    attributed = []
    for segment in segments:
        inside = (speaker for start, end, speaker in known if start < segment.end and end > segment.start)
        attributed.append(segment.model_copy(update={"speaker_ids": list(dict.fromkeys(inside))}))
    return attributed


def name_speaker(segment: TranscriptSegment, speaker_ids: Mapping[str, UUID]) -> TranscriptSegment:
    """Return a segment of a transcript with the id of its speaker in place of the label."""
    if segment.speaker is None or segment.speaker not in speaker_ids:
        return segment
    return segment.model_copy(update={"speaker": str(speaker_ids[segment.speaker])})
