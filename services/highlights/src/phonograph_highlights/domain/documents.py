"""Conversion of results to the documents of the event contract."""

from phonograph_events import documents
from phonograph_highlights.domain.highlights import Clip, ContentSegment
from phonograph_highlights.domain.regions import SilenceRegion, SilenceType


def region_to_document(region: SilenceRegion) -> documents.SilenceRegion:
    """Return a region as documents contain it."""
    return documents.SilenceRegion(
        start=round(region.start_s, 3),
        end=round(region.end_s, 3),
        type=region.type.value,
        noise_db=None if region.noise_db is None else round(region.noise_db, 1),
    )


def region_from_document(region: documents.SilenceRegion) -> SilenceRegion:
    """Return a region of a document."""
    return SilenceRegion(region.start, region.end, SilenceType(region.type), region.noise_db)


def segment_to_document(segment: ContentSegment) -> documents.ContentSegment:
    """Return a segment as documents and events contain it."""
    return documents.ContentSegment(
        segment_id=segment.segment_id,
        start=round(segment.start_s, 3),
        end=round(segment.end_s, 3),
        title=segment.topic.title,
        keywords=list(segment.topic.keywords),
        importance_score=segment.topic.importance,
    )


def clip_to_document(clip: Clip) -> documents.Clip:
    """Return a clip as documents and events contain it."""
    return documents.Clip(
        clip_id=clip.clip_id,
        start=round(clip.start_s, 3),
        end=round(clip.end_s, 3),
        title=clip.title,
        uri=clip.media.uri,
        subtitle_uri=clip.srt.uri,
        vtt_uri=clip.vtt.uri,
        thumbnail_uri=clip.thumbnail and clip.thumbnail.uri,
    )
