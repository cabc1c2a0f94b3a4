"""Talks are split into topics by their words, deterministically, in every language."""

import random
import sys
from collections.abc import Callable
from itertools import accumulate, pairwise

import pytest

from phonograph_events.subtitles import TimedWord
from phonograph_highlights.domain.speech import Utterance
from phonograph_highlights.inference.stop_words import select_content_words, stem
from phonograph_highlights.inference.tfidf import MIN_SEGMENT_S, TfidfSegmenter

SUBJECTS = {
    "networks": "network layer neuron weight gradient loss descent training batch rate momentum activation",
    "cooking": "dough flour oven butter sugar recipe bake yeast salt crust knead temperature",
    "rome": "senate emperor legion province caesar republic consul army citizen forum empire augustus",
    "cells": "cell membrane protein enzyme nucleus ribosome molecule tissue chromosome mitosis gene sugar",
    "markets": "price demand supply market inflation currency trade export tariff bank rate investor",
    "sailing": "sail wind mast harbor anchor tide rudder crew deck keel compass province",
    "music": "melody chord rhythm harmony tempo violin orchestra conductor concert symphony note crew",
    "planets": "planet orbit star telescope gravity comet galaxy moon crater atmosphere rocket layer",
}
GLUE_TEXT = "so the is of and we a in to that it what can this for with be as on you have they not are which"
ASIDES_TEXT = "moment question answer problem example people work year place system part number group change"
GERMAN = {
    "Ofen": "Teig Mehl Ofen Butter Zucker Rezept backen Hefe Kruste kneten",
    "Segel": "Segel Wind Mast Hafen Anker Gezeiten Ruder Mannschaft Deck Kompass",
}
GERMAN_GLUE_TEXT = "und die der das wir nicht ist mit auf eine auch haben werden sich dann aber"
GLUE, ASIDES, GERMAN_GLUE = GLUE_TEXT.split(), ASIDES_TEXT.split(), GERMAN_GLUE_TEXT.split()
TOLERANCE = 2
TALKS = 25


def utterance(words: list[str], start_s: float) -> Utterance:
    return Utterance(
        tuple(TimedWord(word, start_s + i * 0.4, start_s + i * 0.4 + 0.35) for i, word in enumerate(words))
    )


def to_utterances(lines: list[list[str]]) -> list[Utterance]:
    starts = accumulate((len(line) * 0.4 + 0.8 for line in lines), initial=0.0)
    return [utterance(line, start) for line, start in zip(lines, starts, strict=False)]


def talk(rng: random.Random, *, error_rate: float = 0.15) -> tuple[list[Utterance], list[int]]:
    """Return utterances of 4 to 14 words on 2 to 6 subjects: half glue, a few asides, some errors."""
    all_words = " ".join(SUBJECTS.values()).split()
    lines: list[list[str]] = []
    edges: list[int] = []
    for subject in rng.sample(sorted(SUBJECTS), rng.randint(2, 6)):
        own = SUBJECTS[subject].split()
        for _ in range(rng.randint(8, 25)):
            line = []
            for _ in range(rng.randint(4, 14)):
                kind = rng.random()
                source = GLUE if kind < 0.55 else ASIDES if kind < 0.7 else own
                line.append(rng.choice(all_words) if rng.random() < error_rate else rng.choice(source))
            lines.append(line)
        edges.append(len(lines))
    return to_utterances(lines), edges[:-1]


def boundary_f1(pairs: list[tuple[list[int], list[int]]]) -> float:
    """Return the F1, over all talks, of boundaries found within `TOLERANCE` utterances; each counts once."""
    hits = found_count = wanted_count = 0
    for found, wanted in pairs:
        open_boundaries = list(wanted)
        for boundary in found:
            near = [other for other in open_boundaries if abs(other - boundary) <= TOLERANCE]
            if near:
                open_boundaries.remove(min(near, key=lambda other: abs(other - boundary)))
                hits += 1
        found_count += len(found)
        wanted_count += len(wanted)
    return 2 * hits / (found_count + wanted_count)


def test_boundaries_are_much_better_than_no_or_equally_spaced_ones(
    record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Boundary F1 at ±2 utterances; only "equal" knows the true number of topics."""
    rng = random.Random(20)
    talks = [talk(rng) for _ in range(TALKS)]
    segmenter = TfidfSegmenter()

    ours = boundary_f1([([t.first for t in segmenter.predict(u, language="en")][1:], b) for u, b in talks])
    none = boundary_f1([([], b) for _, b in talks])
    equal = boundary_f1(
        [([round(len(u) * i / (len(b) + 1)) for i in range(1, len(b) + 1)], b) for u, b in talks]
    )

    for name, value in (("ours", ours), ("none", none), ("equal", equal)):
        record_property(f"boundary_f1_{name}", round(value, 3))
    with capsys.disabled():
        sys.stdout.write(
            f"\nboundary F1 (±{TOLERANCE} utterances): ours {ours:.3f}, none {none:.3f}, equal {equal:.3f}\n"
        )
    assert ours > 0.7
    assert ours > equal + 0.3


def test_the_title_of_a_topic_consists_of_its_own_words() -> None:
    rng = random.Random(3)
    lines = [
        [rng.choice(GLUE if i % 2 else SUBJECTS[subject].split()) for i in range(12)]
        for subject in ("cooking", "rome")
        for _ in range(15)
    ]
    topics = TfidfSegmenter().predict(to_utterances(lines), language="en")

    assert [(topic.first, topic.last) for topic in topics] == [(0, 14), (15, 29)]
    for topic, subject in zip(topics, ("cooking", "rome"), strict=True):
        own = {stem(word) for word in SUBJECTS[subject].split()}
        assert 3 <= len(topic.keywords) <= 10
        assert {stem(word) for keyword in topic.keywords for word in keyword.split()} <= own
        assert topic.title[0].isupper()
        assert not set(topic.title.lower().replace(",", "").split()) & set(GLUE)
        assert 0 <= topic.importance <= 1


def test_the_core_of_a_talk_is_more_important_than_an_aside() -> None:
    rng = random.Random(5)
    core = SUBJECTS["networks"].split()

    def lines(own: list[str], count: int, share: float) -> list[list[str]]:
        return [[rng.choice(own if rng.random() < share else GLUE) for _ in range(10)] for _ in range(count)]

    core_and_aside = (
        lines(core[:8], 15, 0.5) + lines(SUBJECTS["sailing"].split(), 15, 0.25) + lines(core[4:], 15, 0.5)
    )
    topics = TfidfSegmenter().predict(to_utterances(core_and_aside), language="en")
    aside = next(topic for topic in topics if topic.first <= 22 <= topic.last)

    assert len(topics) >= 3
    assert aside.importance == min(topic.importance for topic in topics)


def test_the_same_talk_has_the_same_topics() -> None:
    utterances, _ = talk(random.Random(1))
    assert TfidfSegmenter().predict(utterances, language="en") == TfidfSegmenter().predict(
        utterances, language="en"
    )


def test_topics_cover_the_talk_and_have_a_minimum_length() -> None:
    utterances, _ = talk(random.Random(2))
    topics = TfidfSegmenter().predict(utterances, language="en")

    assert topics[0].first == 0
    assert topics[-1].last == len(utterances) - 1
    assert all(a.last + 1 == b.first for a, b in pairwise(topics))
    assert all(utterances[t.last].end_s - utterances[t.first].start_s >= MIN_SEGMENT_S for t in topics)


def test_the_number_of_topics_can_be_limited_to_one() -> None:
    utterances, _ = talk(random.Random(4))
    (topic,) = TfidfSegmenter().predict(utterances, language="en", limit=1)

    assert (topic.first, topic.last, topic.importance) == (0, len(utterances) - 1, 1.0)


def test_no_speech_has_no_topic_and_speech_without_content_has_a_title() -> None:
    assert TfidfSegmenter().predict([], language="en") == []

    (topic,) = TfidfSegmenter().predict(to_utterances([["yes", "okay", "so"]]), language="en")
    assert (topic.title, topic.keywords) == ("Yes okay so", ())


@pytest.mark.parametrize("language", ["de", None])
def test_topics_in_another_language_are_separated_and_have_no_function_words_in_their_titles(
    language: str | None,
) -> None:
    rng = random.Random(8)
    lines = [
        [rng.choice(GERMAN_GLUE if i % 3 else GERMAN[subject].split()) for i in range(13)]
        for subject in GERMAN
        for _ in range(15)
    ]
    topics = TfidfSegmenter().predict(to_utterances(lines), language=language)

    assert [topic.first for topic in topics] == [0, 15]
    for topic, subject in zip(topics, GERMAN, strict=True):
        assert set(topic.title.lower().replace(",", "").split()) <= set(GERMAN[subject].lower().split())


@pytest.mark.parametrize(
    "text", ["機械学習とは何か機械学習", "машинное обучение и сети", "यह एक परीक्षा है", "한국어 음성 인식"]
)
def test_keywords_are_found_in_any_script(text: str) -> None:
    (topic,) = TfidfSegmenter().predict(to_utterances([text.split()] * 3), language=None)
    assert topic.keywords
    assert topic.title


def test_contractions_and_possessives_are_not_content() -> None:
    line = "We’ll see what's in the network's layers don't we"
    assert [word for word in select_content_words([line], "en")[0] if word] == ["network", "layers"]


def test_a_talk_of_ten_hours_is_segmented_in_seconds() -> None:
    rng = random.Random(6)
    lines: list[list[str]] = []
    while len(lines) < 6000:
        own = SUBJECTS[rng.choice(sorted(SUBJECTS))].split()
        lines += [[rng.choice(GLUE if i % 2 else own) for i in range(12)] for _ in range(40)]
    topics = TfidfSegmenter().predict(to_utterances(lines), language="en")

    assert 20 <= len(topics) <= 200
