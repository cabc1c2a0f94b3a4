"""The shape of the graph, and changes that produce the same graph in any order.

Neither topics nor replays preserve the order of events, so every change is one of these:

- a `Node` that several recordings may share, or the stub of one that is still to come: only ever added;
- a link: an `Edge` that stays true: only ever added;
- a `Facet`: what one kind of event states about one node; a newer one replaces an older one;
- a `Sighting`: the last statement about a file at an address.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Properties = Mapping[str, Any]


class Label(StrEnum):
    """Labels of nodes, in the order in which they are locked."""

    RECORDING = "Recording"
    ALBUM = "Album"
    ANALYSIS = "Analysis"
    ARTIST = "Artist"
    CLIP = "Clip"
    DIARIZATION = "Diarization"
    GENRE = "Genre"
    HIGHLIGHTS = "Highlights"
    JOB = "Job"
    KEY = "Key"
    LOCATION = "Location"
    METADATA = "Metadata"
    PERSON = "Person"
    RENAME_PROPOSAL = "RenameProposal"
    SEGMENT = "Segment"
    SPEAKER = "Speaker"
    TOPIC = "Topic"
    TRACKLIST = "Tracklist"
    TRANSCRIPT = "Transcript"


KEYS: Final[dict[Label, tuple[str, ...]]] = dict.fromkeys(Label, ("id",)) | {
    Label.ALBUM: ("title", "artist"),
    Label.ARTIST: ("name",),
    Label.GENRE: ("name",),
    Label.KEY: ("key", "scale"),
    Label.LOCATION: ("uri",),
    Label.METADATA: ("key", "value", "value_type"),
    Label.TOPIC: ("name",),
}
"""The properties that make a node of a label unique."""

SHARED: Final = frozenset(
    {Label.ALBUM, Label.ARTIST, Label.GENRE, Label.KEY, Label.LOCATION, Label.METADATA, Label.TOPIC}
)
"""Labels of nodes that are only added to; all others have facets, or belong to one."""


class Relation(StrEnum):
    """Types of edges."""

    ABOUT = "ABOUT"
    DERIVED_FROM = "DERIVED_FROM"
    HAS_ANALYSIS = "HAS_ANALYSIS"
    HAS_CLIP = "HAS_CLIP"
    HAS_DIARIZATION = "HAS_DIARIZATION"
    HAS_GENRE = "HAS_GENRE"
    HAS_HIGHLIGHTS = "HAS_HIGHLIGHTS"
    HAS_METADATA = "HAS_METADATA"
    HAS_RENAME_PROPOSAL = "HAS_RENAME_PROPOSAL"
    HAS_SEGMENT = "HAS_SEGMENT"
    HAS_SPEAKER = "HAS_SPEAKER"
    HAS_TRACKLIST = "HAS_TRACKLIST"
    HAS_TRANSCRIPT = "HAS_TRANSCRIPT"
    IDENTIFIED_AS = "IDENTIFIED_AS"
    IN_KEY = "IN_KEY"
    PART_OF = "PART_OF"
    PERFORMED_BY = "PERFORMED_BY"
    SPEAKS_IN = "SPEAKS_IN"
    SPOKEN_BY = "SPOKEN_BY"
    WORKS_ON = "WORKS_ON"


class Aspect(StrEnum):
    """Aspects of a node that a facet can state; `<aspect>_order` is the property with the newest order."""

    MEDIA = "media"
    STATUS = "status"
    PLACE = "place"
    MUSIC = "music"
    CATALOG = "catalogue"
    HIGHLIGHTS = "highlights"
    SPEAKERS = "speakers"
    IDENTITY = "identity"
    PEOPLE = "people"
    RESULT = "result"
    SCORE = "score"


FACET_EDGES: Final[dict[Aspect, tuple[Relation, ...]]] = {
    Aspect.MUSIC: (Relation.IN_KEY,),
    Aspect.CATALOG: (
        Relation.HAS_METADATA,
        Relation.PERFORMED_BY,
        Relation.PART_OF,
        Relation.HAS_GENRE,
        Relation.IN_KEY,
    ),
    Aspect.SPEAKERS: (Relation.SPEAKS_IN,),
    Aspect.IDENTITY: (Relation.IDENTIFIED_AS,),
    Aspect.PEOPLE: (Relation.SPOKEN_BY,),
}
"""Edges of the owner that are replaced with a facet; each has the aspect in its property `part`.

Those of speakers lead to the owner, the others to shared nodes or people.
"""

FACET_CHILDREN: Final[dict[Aspect, tuple[Relation, ...]]] = {
    Aspect.MUSIC: (Relation.HAS_ANALYSIS,),
    Aspect.CATALOG: (Relation.HAS_TRACKLIST,),
    Aspect.HIGHLIGHTS: (Relation.HAS_HIGHLIGHTS, Relation.HAS_SEGMENT, Relation.HAS_CLIP),
}
"""Edges to nodes that belong to a facet and are replaced with it."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A node by its label and its key."""

    label: Label
    key: tuple[str, ...]

    def properties(self) -> dict[str, str]:
        """Return the key as properties."""
        return dict(zip(KEYS[self.label], self.key, strict=True))


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is only ever added to."""

    ref: Ref
    created_at: datetime
    """The earliest event's time is stored."""
    properties: Properties = field(default_factory=dict)
    """Only properties that follow from the key."""
    confidence: float | None = None
    """The highest is stored (C-37)."""
    release_date: str | None = None
    """The earliest is stored."""

    def merge(self, other: "Node") -> "Node":
        """Return one node from two with the same key."""
        confidences = [value for value in (self.confidence, other.confidence) if value is not None]
        dates = [value for value in (self.release_date, other.release_date) if value is not None]
        return replace(
            self,
            created_at=min(self.created_at, other.created_at),
            confidence=max(confidences, default=None),
            release_date=min(dates, default=None),
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge; `identity` has the properties that distinguish it from others between the same two nodes."""

    start: Ref
    relation: Relation
    end: Ref
    identity: tuple[tuple[str, str], ...] = ()
    properties: Properties = field(default_factory=dict, compare=False)
    created_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Child:
    """A node that belongs to a facet: written and deleted with it."""

    ref: Ref
    relation: Relation
    created_at: datetime
    properties: Properties
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Facet:
    """The state of one aspect of a node, as one kind of event reports it; the highest `order` applies."""

    owner: Ref
    aspect: Aspect
    order: str
    created_at: datetime
    updated_at: datetime
    properties: Properties
    edges: tuple[Edge, ...] = ()
    """They join the owner with other nodes."""
    children: tuple[Child, ...] = ()

    def merge(self, other: "Facet") -> "Facet":
        """Return the newer facet, with the times of both."""
        return replace(
            max(self, other, key=lambda facet: facet.order),
            created_at=min(self.created_at, other.created_at),
            updated_at=max(self.updated_at, other.updated_at),
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last statement about a recording at an address."""

    location: Ref
    recording: Ref
    order: str
    properties: Properties


@dataclass(slots=True)
class Changes:
    """Changes of one event or of several, each node and edge once."""

    nodes: dict[Ref, Node] = field(default_factory=dict)
    links: dict[Edge, Edge] = field(default_factory=dict)
    facets: dict[tuple[Ref, Aspect], Facet] = field(default_factory=dict)
    sightings: dict[tuple[Ref, Ref], Sighting] = field(default_factory=dict)

    def add_node(self, node: Node) -> None:
        """Add a shared node or a stub."""
        known = self.nodes.get(node.ref)
        self.nodes[node.ref] = node if known is None else known.merge(node)

    def add_link(self, link: Edge) -> None:
        """Add an edge that stays."""
        self.links[link] = link

    def add_facet(self, facet: Facet) -> None:
        """Add a facet, unless there is a newer one."""
        key = (facet.owner, facet.aspect)
        known = self.facets.get(key)
        self.facets[key] = facet if known is None else known.merge(facet)

    def add_sighting(self, sighting: Sighting) -> None:
        """Add a sighting, unless there is a newer one."""
        key = (sighting.location, sighting.recording)
        known = self.sightings.get(key)
        if known is None or known.order < sighting.order:
            self.sightings[key] = sighting


def combine(several: Iterable[Changes]) -> Changes:
    """Return the changes of several events as one."""
    combined = Changes()
    for changes in several:
        for node in changes.nodes.values():
            combined.add_node(node)
        for link in changes.links.values():
            combined.add_link(link)
        for facet in changes.facets.values():
            combined.add_facet(facet)
        for sighting in changes.sightings.values():
            combined.add_sighting(sighting)
    return combined
