"""What was found, in the words of the event contract."""

from phonograph_events import documents
from phonograph_highlights.domain.highlights import Clip, ContentSegment
from phonograph_highlights.domain.regions import SilenceRegion


def region_document(region: SilenceRegion) -> documents.SilenceRegion:
    """A region as documents show it."""
    return documents.SilenceRegion(
        start=round(region.start_s, 3), end=round(region.end_s, 3), type=region.type.value
    )


def segment_document(segment: ContentSegment) -> documents.ContentSegment:
    """A segment as documents and events show it."""
    return documents.ContentSegment(
        segment_id=segment.segment_id,
        start=round(segment.start_s, 3),
        end=round(segment.end_s, 3),
        title=segment.title,
        keywords=list(segment.keywords),
        importance_score=segment.importance,
    )


def clip_document(clip: Clip) -> documents.Clip:
    """A clip as documents and events show it."""
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
