"""Segmentation of a talk into topics by TF-IDF: no model, no network, deterministic.

The score of a segment is the length of the sum of its TF-IDF vectors (Alemi & Ginsparg 2015, "Text
segmentation based on semantic word embeddings"); the segmentation with the highest total, minus a price per
segment, is found by dynamic programming (Utiyama & Isahara 2001).
"""

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from phonograph_highlights.constants import MAX_SEGMENTS
from phonograph_highlights.domain.highlights import TopicSegment
from phonograph_highlights.domain.ports import TopicSegmenter
from phonograph_highlights.domain.speech import Utterance, span_of
from phonograph_highlights.inference.stop_words import is_english, select_content_words, stem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRICE_PER_LOG, PRICE_AT_ONE = 1.1, -0.85
"""The price of a segment grows with the logarithm of the amount of text: a longer talk has more chances for a
boundary that only seems good. Fitted on 98 spliced talks of 1 to 90 minutes, checked on 126 others."""
MIN_SEGMENT_S = 20.0
MAX_BLOCKS = 1500
"""Longer talks are split between groups of utterances: the table of all pairs grows with the square."""
MIN_KEYWORDS, MAX_KEYWORDS = 3, 10
KEYWORD_SHARE = 0.3
"""A keyword beyond the first three occurs twice and has at least this share of the weight of the first."""
PAIR_WEIGHT = 1.3
"""Weight of a keyword of two words: it is more specific than one of a single word."""
TITLE_KEYWORDS = 3
TITLE_LENGTH = 80
CENTRALITY_SHARE = 0.6
"""Share of the importance that is similarity to the rest of the talk; the rest is density of content."""

Term = tuple[str, ...]
"""One or two stems."""


@dataclass(frozen=True, slots=True)
class _Content:
    """Content words by utterance; None in place of a word without content."""

    words: list[list[str | None]]
    """As they were spoken."""
    stems: list[list[str | None]]
    is_english: bool


class TfidfSegmenter(TopicSegmenter):
    """Splits talks into topics by the words that are frequent in one topic and rare in others."""

    @property
    @override
    def name(self) -> str:
        return "tfidf"

    @property
    @override
    def model(self) -> str:
        # Weights derive from the talk itself.
        return "none"

    @override
    def load(self) -> None:
        """Import scikit-learn."""
        importlib.import_module("sklearn.feature_extraction.text")

    @override
    def predict(
        self, utterances: Sequence[Utterance], *, language: str | None, limit: int = MAX_SEGMENTS
    ) -> list[TopicSegment]:
        """See `TopicSegmenter.predict`."""
        if not utterances:
            return []
        lines = [utterance.text for utterance in utterances]
        words = select_content_words(lines, language)
        stems = [[word and stem(word) for word in line] for line in words]
        content = _Content(words, stems, is_english(lines, language))
        boundaries = _find_boundaries(utterances, stems, min(limit, MAX_SEGMENTS)) if limit > 1 else []
        edges = [0, *boundaries, len(utterances)]
        return [
            TopicSegment(first, end - 1, _compose_title(keywords, lines[first]), tuple(keywords), importance)
            for (first, end), keywords, importance in zip(
                pairwise(edges),
                _choose_keywords(content, edges),
                _score_importance(utterances, stems, edges),
                strict=True,
            )
        ]


def _tfidf(groups: Iterable[Sequence[Sequence[str | None]]]) -> Any | None:
    """Return the TF-IDF of the stems of groups of utterances.

    Returns:
        A sparse matrix (groups, stems), or None if there is no stem.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = [[word for words in group for word in words if word] for group in groups]
    if not any(documents):
        return None
    return TfidfVectorizer(analyzer=lambda words: words, norm=None).fit_transform(documents)


def _find_boundaries(
    utterances: Sequence[Utterance], stems: Sequence[Sequence[str | None]], limit: int
) -> list[int]:
    """Return the indices of the utterances that begin a new topic, without the first utterance."""
    import numpy as np

    block_size = -(-len(utterances) // MAX_BLOCKS)
    first_utterances = range(0, len(utterances), block_size)
    weights = _tfidf(stems[i : i + block_size] for i in first_utterances)
    if weights is None:
        return []
    starts_s = np.array([utterances[i].start_s for i in first_utterances])
    ends_s = np.array([span_of(utterances[i : i + block_size]).end_s for i in first_utterances])
    min_segment_s = max(MIN_SEGMENT_S, float(ends_s.max() - starts_s[0]) / limit)
    return [first_utterances[i] for i in _segment_blocks(weights, starts_s, ends_s, min_segment_s)]


def _segment_blocks(
    weights: Any, starts_s: "NDArray[np.float64]", ends_s: "NDArray[np.float64]", min_segment_s: float
) -> list[int]:
    """Return the first blocks of all segments but the first, for the segmentation with the highest score.

    Args:
        weights: TF-IDF, a sparse matrix (blocks, stems).
        starts_s: Start of each block in seconds, shape (blocks,).
        ends_s: End of each block in seconds, shape (blocks,).
        min_segment_s: Minimum length of a segment.
    """
    import numpy as np

    count = len(starts_s)
    # With sums over all pairs of blocks, the squared length of the sum of blocks a to b needs three look-ups.
    sums = np.zeros((count + 1, count + 1))
    sums[1:, 1:] = (weights @ weights.T).toarray().cumsum(0).cumsum(1)
    unit = float(np.sqrt(weights.multiply(weights).sum() / weights.count_nonzero()))
    price = PRICE_PER_LOG * max(np.log(weights.sum() / unit), 1.0) + PRICE_AT_ONE

    best = np.full(count + 1, -np.inf)
    best[0] = 0.0
    previous = np.zeros(count + 1, dtype=int)
    for end in range(1, count + 1):
        firsts = np.flatnonzero(ends_s[end - 1] - starts_s[:end] >= min_segment_s)
        if firsts.size == 0:
            continue
        squares = sums[end, end] - 2 * sums[end, firsts] + sums[firsts, firsts]
        scores = best[firsts] + np.sqrt(np.maximum(squares, 0.0)) / unit - price
        chosen = int(scores.argmax())
        best[end], previous[end] = scores[chosen], firsts[chosen]
    boundaries: list[int] = []
    at = int(previous[count]) if np.isfinite(best[count]) else 0
    while at > 0:
        boundaries.append(at)
        at = int(previous[at])
    return boundaries[::-1]


def _score_importance(
    utterances: Sequence[Utterance], stems: Sequence[Sequence[str | None]], edges: Sequence[int]
) -> list[float]:
    """Return a score in [0, 1] for each topic: its similarity to the rest of the talk, and its density."""
    import numpy as np

    weights = _tfidf(stems[a:b] for a, b in pairwise(edges))
    if len(edges) == 2 or weights is None:
        return [1.0] * (len(edges) - 1)
    topics = weights.toarray()
    rest = topics.sum(axis=0) - topics
    lengths = np.linalg.norm(topics, axis=1) * np.linalg.norm(rest, axis=1)
    similarity = (topics * rest).sum(axis=1) / np.maximum(lengths, 1e-9)
    durations_s = np.array([max(span_of(utterances[a:b]).duration_s, 1.0) for a, b in pairwise(edges)])
    density = topics.sum(axis=1) / durations_s
    score = CENTRALITY_SHARE * _scale_to_max(similarity) + (1 - CENTRALITY_SHARE) * _scale_to_max(density)
    return [round(float(value), 3) for value in np.clip(score, 0.0, 1.0)]


def _scale_to_max(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    return values / max(float(values.max()), 1e-9)


def _choose_keywords(content: _Content, edges: Sequence[int]) -> list[list[str]]:
    """Return up to `MAX_KEYWORDS` terms of one or two words for each topic, the most specific first."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts, spellings = _count_terms(content, edges)
    documents = [
        [term for term, count in topic.items() for _ in range(count) if len(term) == 1 or count > 1]
        for topic in counts
    ]
    if not any(documents):
        return [[] for _ in counts]
    vectorizer = TfidfVectorizer(analyzer=lambda terms: terms, norm=None, sublinear_tf=True)
    table = vectorizer.fit_transform(documents)
    terms: list[Term] = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    keywords: list[list[str]] = []
    for topic, row in zip(counts, table, strict=True):
        scores = {terms[i]: float(value) for i, value in zip(row.indices, row.data, strict=True)}
        ranked = sorted(scores, key=lambda term: (-scores[term] * _term_weight(term, content), term))
        keywords.append([_most_frequent(spellings[term]) for term in _select_terms(ranked, topic, scores)])
    return keywords


def _count_terms(
    content: _Content, edges: Sequence[int]
) -> tuple[list[Counter[Term]], dict[Term, Counter[str]]]:
    """Return how often each term occurs in each topic, and how often it has each spelling."""
    counts: list[Counter[Term]] = []
    spellings: dict[Term, Counter[str]] = {}
    for first, end in pairwise(edges):
        topic: Counter[Term] = Counter()
        for words, stems in zip(content.words[first:end], content.stems[first:end], strict=True):
            for term, spelling in _extract_terms(words, stems):
                topic[term] += 1
                spellings.setdefault(term, Counter())[spelling] += 1
        counts.append(topic)
    return counts, spellings


def _extract_terms(words: Sequence[str | None], stems: Sequence[str | None]) -> Iterator[tuple[Term, str]]:
    """Yield the terms of an utterance with their spelling."""
    pairs = list(zip(words, stems, strict=True))
    for word, root in pairs:
        if word and root:
            yield (root,), word
    for (word, root), (next_word, next_root) in pairwise(pairs):
        if word and root and next_word and next_root and root != next_root:
            yield (root, next_root), f"{word} {next_word}"


def _term_weight(term: Term, content: _Content) -> float:
    """Return the weight of a term; without a list of stop words, long words count more than short ones."""
    length_weight = 1.0 if content.is_english else min(max(map(len, term)), 8) / 8
    return (1.0 if len(term) == 1 else PAIR_WEIGHT) * length_weight


def _select_terms(ranked: Sequence[Term], counts: Counter[Term], scores: dict[Term, float]) -> list[Term]:
    """Drop terms that repeat a better one, and those with too little weight.

    Args:
        ranked: The terms of a topic, the best first.
        counts: How often each term occurs in the topic.
        scores: TF-IDF of each term.
    """
    selected: list[Term] = []
    for term in ranked:
        if len(selected) == MAX_KEYWORDS:
            break
        if len(selected) >= MIN_KEYWORDS and (
            counts[term] == 1 or scores[term] < KEYWORD_SHARE * scores[selected[0]]
        ):
            continue
        is_repetition = any(
            set(term) & set(other) and (len(term) > 1 or counts[term] < 2 * counts[other])
            for other in selected
        )
        if not is_repetition:
            selected.append(term)
    return selected


def _most_frequent(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], len(spelling), spelling))


def _compose_title(keywords: Sequence[str], opening: str) -> str:
    """Return the first keywords that share no word as a line, or the opening words if there are none."""
    chosen: list[str] = []
    for keyword in keywords:
        if len(chosen) < TITLE_KEYWORDS and not any(
            set(keyword.split()) & set(other.split()) for other in chosen
        ):
            chosen.append(keyword)
    title = ", ".join(chosen) or opening
    if len(title) > TITLE_LENGTH:
        title = title[: TITLE_LENGTH - 1].rpartition(" ")[0] + "…"
    return title[:1].upper() + title[1:]
