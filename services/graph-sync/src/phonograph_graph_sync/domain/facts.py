"""Facts from the metadata of a recording: artists, albums, genres, keys and plain entries.

See K-08 to K-13 and C-48 in docs/requirements.md.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from phonograph_events import MetadataEntry
from phonograph_graph_sync.domain.graph import Aspect, Edge, Label, Node, Ref, Relation
from phonograph_graph_sync.domain.names import (
    clean_name,
    normalize_name,
    parse_musical_key,
    shorten_for_index,
    split_credit,
)

KEY_TAGS: Final = ("tag_key", "initial_key", "initialkey")
"""Metadata entries that contain a musical key."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A shared node and the edge that leads to it."""

    node: Node
    edge: Edge


def extract_facts(recording: Ref, entries: Sequence[MetadataEntry], time: datetime) -> list[Fact]:
    """Return the facts that the metadata of a recording contains, each once.

    Args:
        recording: The recording.
        entries: Its metadata.
        time: Time of the event that carries them.
    """
    extractor = _FactExtractor(recording, time, entries)
    facts = [
        *extractor.metadata(),
        *extractor.artists(),
        *extractor.albums(),
        *extractor.genres(),
        *extractor.keys(),
    ]
    return list({fact.edge: fact for fact in facts}.values())


def typed_values(entry: MetadataEntry) -> list[tuple[str, str]]:
    """Return the values of an entry with their types; a JSON list has several (C-48)."""
    if entry.value_type == "json":
        try:
            parsed = json.loads(entry.value)
        except ValueError:
            return [(entry.value, "string")]
        if isinstance(parsed, list):
            return [_typed(item) for item in parsed]
    return [(entry.value, entry.value_type)]


def make_key_fact(
    recording: Ref, *, aspect: Aspect, key: str, scale: str, confidence: float, method: str, time: datetime
) -> Fact:
    """Return the musical key of a recording as a fact.

    Args:
        recording: The recording.
        aspect: Aspect of the recording to which the key belongs.
        key: Tonic, for example `F#`.
        scale: `major` or `minor`.
        confidence: Confidence in the key, in [0, 1].
        method: Name of the method that found the key; keys of several methods exist next to each other.
        time: Time of the event that reports it.
    """
    ref = Ref(Label.KEY, (key, scale))
    edge = Edge(
        recording,
        Relation.IN_KEY,
        ref,
        identity=(("detection_method", method), ("part", aspect)),
        properties={"confidence": confidence},
        created_at=time,
    )
    return Fact(Node(ref, time, confidence=confidence), edge)


class _FactExtractor:
    """Reads the entries of one recording, by name and without regard to case."""

    def __init__(self, recording: Ref, time: datetime, entries: Sequence[MetadataEntry]) -> None:
        self._recording = recording
        self._time = time
        self._entries = entries
        self._by_key = {entry.key.casefold(): entry for entry in entries}

    def metadata(self) -> Iterator[Fact]:
        for entry in self._entries:
            for value, value_type in typed_values(entry):
                ref = Ref(
                    Label.METADATA,
                    (shorten_for_index(entry.key[:200]), shorten_for_index(value), value_type[:50]),
                )
                yield self._fact(
                    Relation.HAS_METADATA,
                    Node(ref, self._time, confidence=entry.confidence),
                    entry.confidence,
                    extraction_method=entry.extraction_method,
                )

    def artists(self) -> Iterator[Fact]:
        confidence = self._confidence("artist")
        names = self._texts("artist") or self._texts("albumartist")
        for name in names:
            main, featured = split_credit(name)
            yield from self._artist(main, "primary", confidence)
            for guest in featured:
                yield from self._artist(guest, "featured", confidence)
        for name in self._texts("composer"):
            yield from self._artist(name, "composer", self._confidence("composer"))

    def albums(self) -> Iterator[Fact]:
        artist = next(iter(self._texts("albumartist") or self._texts("artist")), "")
        released = next((text for key in ("date", "year") for text in self._texts(key)), None)
        for title in self._texts("album")[:1]:
            confidence = self._confidence("album")
            node = Node(
                Ref(Label.ALBUM, (title, artist)),
                self._time,
                {"normalized_title": normalize_name(title)},
                release_date=released,
            )
            yield self._fact(
                Relation.PART_OF,
                node,
                confidence,
                track_number=self._number("track"),
                disc_number=self._number("disc"),
            )

    def genres(self) -> Iterator[Fact]:
        for position, name in enumerate(self._texts("genre")):
            confidence = self._confidence("genre")
            node = Node(Ref(Label.GENRE, (name,)), self._time, confidence=confidence)
            yield self._fact(Relation.HAS_GENRE, node, confidence, primary=position == 0)

    def keys(self) -> Iterator[Fact]:
        for tag in KEY_TAGS:
            for text in self._texts(tag):
                if (known := parse_musical_key(text)) is not None:
                    key, scale = known
                    yield make_key_fact(
                        self._recording,
                        aspect=Aspect.CATALOG,
                        key=key,
                        scale=scale,
                        confidence=self._confidence(tag),
                        method="tag",
                        time=self._time,
                    )

    def _artist(self, name: str, role: str, confidence: float) -> Iterator[Fact]:
        if name:
            ref = Ref(Label.ARTIST, (name,))
            node = Node(ref, self._time, {"normalized_name": normalize_name(name), "aliases": []})
            yield self._fact(Relation.PERFORMED_BY, node, confidence, identity=(("role", role),))

    def _fact(
        self,
        relation: Relation,
        node: Node,
        confidence: float,
        *,
        identity: tuple[tuple[str, str], ...] = (),
        **properties: Any,
    ) -> Fact:
        edge = Edge(
            self._recording,
            relation,
            node.ref,
            identity=(*identity, ("part", Aspect.CATALOG)),
            properties=properties | {"confidence": confidence},
            created_at=self._time,
        )
        return Fact(node, edge)

    def _texts(self, key: str) -> list[str]:
        entry = self._by_key.get(key)
        if entry is None:
            return []
        texts = (clean_name(value) for value, _ in typed_values(entry))
        return list(dict.fromkeys(text for text in texts if text))

    def _number(self, key: str) -> int | None:
        """Return the number of `3` or `3/12`; None if there is none."""
        text = next(iter(self._texts(key)), "").partition("/")[0]
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None

    def _confidence(self, key: str) -> float:
        entry = self._by_key.get(key)
        return 1.0 if entry is None else entry.confidence


def _typed(item: Any) -> tuple[str, str]:
    match item:
        case str():
            return item, "string"
        case bool():
            return str(item).lower(), "bool"
        case int():
            return str(item), "int"
        case float():
            return repr(item), "float"
        case _:
            return json.dumps(item, ensure_ascii=False, sort_keys=True), "json"
