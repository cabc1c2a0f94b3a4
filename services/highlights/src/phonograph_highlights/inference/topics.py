"""Splits a talk into topics by its words alone: TF-IDF, no model, no network, always the same answer.

A segment's gain is the length of the sum of its TF-IDF vectors (Alemi & Ginsparg 2015, "Text segmentation
based on semantic word embeddings"); the best cut of the whole under a price per segment is found by dynamic
programming (Utiyama & Isahara 2001).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from phonograph_highlights.domain.highlights import Topic
from phonograph_highlights.domain.speech import Utterance, span
from phonograph_highlights.inference.words import content_words, is_english, stem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRICE_PER_LOG, PRICE_AT_ONE = 1.1, -0.85
"""What a segment must gain grows with the logarithm of what is said: a longer talk has more chances for a cut
that only seems good. Fitted on 98 spliced talks of 1 to 90 minutes, checked on 126 others."""
MIN_SEGMENT_S = 20.0
MAX_SEGMENTS = 200
MAX_BLOCKS = 1500
"""Longer talks are cut between groups of utterances: the table of all pairs grows with the square."""
MIN_KEYWORDS, MAX_KEYWORDS = 3, 10
KEYWORD_SHARE = 0.3
"""A keyword beyond the first three is said twice and weighs at least this share of the first."""
TITLE_WORDS = 3
TITLE_LENGTH = 80
CENTRALITY_SHARE = 0.6
"""Of the importance; the rest is how much is said in the time."""

Term = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Texts:
    """Content words by utterance, as they were said and by stem; null where a word says nothing."""

    said: list[list[str | None]]
    stems: list[list[str | None]]
    english: bool


class TfidfSegmenter:
    """See `phonograph_highlights.domain.ports.TopicSegmenter`."""

    def segment(
        self, spoken: Sequence[Utterance], *, language: str | None, limit: int = MAX_SEGMENTS
    ) -> list[Topic]:
        """Split into at most `limit` topics; none when there are no utterances."""
        if not spoken:
            return []
        lines = [utterance.text for utterance in spoken]
        said = content_words(lines, language)
        stems = [[word and stem(word) for word in words] for words in said]
        texts = _Texts(said, stems, is_english(lines, language))
        cuts = _cuts(spoken, stems, min(limit, MAX_SEGMENTS)) if limit > 1 else []
        edges = [0, *cuts, len(spoken)]
        keywords = _keywords(texts, edges)
        importances = _importances(spoken, stems, edges)
        return [
            Topic(first, end - 1, _title(words, lines[first]), tuple(words), importance)
            for (first, end), words, importance in zip(pairwise(edges), keywords, importances, strict=True)
        ]


def _weights(groups: Iterable[Sequence[Sequence[str | None]]]) -> Any | None:
    """TF-IDF of the stems of groups of utterances, a sparse matrix (groups, stems); null without any."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    lines = [[word for words in group for word in words if word] for group in groups]
    if not any(lines):
        return None
    return TfidfVectorizer(analyzer=lambda words: words, norm=None).fit_transform(lines)


def _cuts(spoken: Sequence[Utterance], stems: Sequence[Sequence[str | None]], limit: int) -> list[int]:
    """Indices of the utterances that begin a new topic, without the first."""
    import numpy as np

    group = -(-len(spoken) // MAX_BLOCKS)
    starts = range(0, len(spoken), group)
    weights = _weights(stems[i : i + group] for i in starts)
    if weights is None:
        return []
    count = len(starts)
    sums = np.zeros((count + 1, count + 1))
    sums[1:, 1:] = (weights @ weights.T).toarray().cumsum(0).cumsum(1)
    unit = float(np.sqrt(weights.multiply(weights).sum() / weights.count_nonzero()))
    price = PRICE_PER_LOG * max(np.log(weights.sum() / unit), 1.0) + PRICE_AT_ONE
    begins = np.array([spoken[i].start_s for i in starts])
    ends = np.array([span(spoken[i : i + group]).end_s for i in starts])
    shortest_s = max(MIN_SEGMENT_S, float(ends.max() - begins[0]) / limit)

    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    came_from = np.zeros(count + 1, dtype=int)
    for end in range(1, count + 1):
        firsts = np.flatnonzero(ends[end - 1] - begins[:end] >= shortest_s)
        if firsts.size == 0:
            continue
        squares = sums[end, end] - 2 * sums[end, firsts] + sums[firsts, firsts]
        values = best[firsts] + np.sqrt(np.maximum(squares, 0.0)) / unit - price
        chosen = int(values.argmax())
        best[end], came_from[end] = values[chosen], firsts[chosen]
    cuts: list[int] = []
    at = int(came_from[count]) if np.isfinite(best[count]) else 0
    while at > 0:
        cuts.append(starts[at])
        at = int(came_from[at])
    return cuts[::-1]


def _importances(
    spoken: Sequence[Utterance], stems: Sequence[Sequence[str | None]], edges: Sequence[int]
) -> list[float]:
    """How near each topic is to the rest of the talk, and how much it says in its time, from 0 to 1."""
    import numpy as np

    weights = _weights(stems[a:b] for a, b in pairwise(edges))
    if len(edges) == 2 or weights is None:
        return [1.0] * (len(edges) - 1)
    topics = weights.toarray()
    rest = topics.sum(axis=0) - topics
    lengths = np.linalg.norm(topics, axis=1) * np.linalg.norm(rest, axis=1)
    nearness = (topics * rest).sum(axis=1) / np.maximum(lengths, 1e-9)
    seconds = np.array([max(span(spoken[a:b]).duration_s, 1.0) for a, b in pairwise(edges)])
    density = topics.sum(axis=1) / seconds
    score = CENTRALITY_SHARE * _of_best(nearness) + (1 - CENTRALITY_SHARE) * _of_best(density)
    return [round(float(value), 3) for value in np.clip(score, 0.0, 1.0)]


def _of_best(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return values / max(float(values.max()), 1e-9)


def _keywords(texts: _Texts, edges: Sequence[int]) -> list[list[str]]:
    """Three to ten terms of one or two words for each topic, the most telling first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts: list[Counter[Term]] = []
    spelled: dict[Term, Counter[str]] = {}
    for first, end in pairwise(edges):
        found: Counter[Term] = Counter()
        for said, stems in zip(texts.said[first:end], texts.stems[first:end], strict=True):
            for term, spelling in _terms(said, stems):
                found[term] += 1
                spelled.setdefault(term, Counter())[spelling] += 1
        counts.append(found)
    documents = [
        [term for term, count in found.items() for _ in range(count) if len(term) == 1 or count > 1]
        for found in counts
    ]
    if not any(documents):
        return [[] for _ in counts]
    vectorizer = TfidfVectorizer(analyzer=lambda terms: terms, norm=None, sublinear_tf=True)
    table = vectorizer.fit_transform(documents)
    names: list[Term] = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    chosen: list[list[str]] = []
    for found, row in zip(counts, table, strict=True):
        scores = {names[i]: float(value) for i, value in zip(row.indices, row.data, strict=True)}
        ranked = sorted(scores, key=lambda term: (-scores[term] * _appeal(term, texts), term))
        chosen.append([_spelling(spelled[term]) for term in _distinct(ranked, found, scores)])
    return chosen


def _terms(said: Sequence[str | None], stems: Sequence[str | None]) -> Iterator[tuple[Term, str]]:
    pairs = list(zip(said, stems, strict=True))
    for word, root in pairs:
        if word and root:
            yield (root,), word
    for (word, root), (next_word, next_root) in pairwise(pairs):
        if word and root and next_word and next_root and root != next_root:
            yield (root, next_root), f"{word} {next_word}"


def _appeal(term: Term, texts: _Texts) -> float:
    """Two words tell more than one; without a list of stop words, long words tell more than short ones."""
    longest = max(map(len, term))
    return (1.0 if len(term) == 1 else 1.3) * (1.0 if texts.english else min(longest, 8) / 8)


def _distinct(ranked: Sequence[Term], found: Counter[Term], scores: dict[Term, float]) -> list[Term]:
    """Drop terms that say again what a better one says, then those that weigh too little."""
    kept: list[Term] = []
    for term in ranked:
        if len(kept) == MAX_KEYWORDS:
            break
        if len(kept) >= MIN_KEYWORDS and (found[term] == 1 or scores[term] < KEYWORD_SHARE * scores[kept[0]]):
            continue
        repeats = any(
            set(term) & set(other) and (len(term) > 1 or found[term] < 2 * found[other]) for other in kept
        )
        if not repeats:
            kept.append(term)
    return kept


def _spelling(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], len(spelling), spelling))


def _title(keywords: Sequence[str], opening: str) -> str:
    """The first keywords as a line; the opening words where there are none."""
    parts: list[str] = []
    for keyword in keywords:
        if len(parts) < TITLE_WORDS and not any(set(keyword.split()) & set(part.split()) for part in parts):
            parts.append(keyword)
    title = ", ".join(parts) or opening
    if len(title) > TITLE_LENGTH:
        title = title[: TITLE_LENGTH - 1].rpartition(" ")[0] + "…"
    return title[:1].upper() + title[1:]
