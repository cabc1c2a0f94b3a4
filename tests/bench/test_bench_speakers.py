"""The measurement of diarization counts errors as NIST does."""

from tests.bench.speakers import diarization_error_rate, references


def test_missed_false_and_confused_time_is_counted() -> None:
    truth = [(0.0, 4.0, "a"), (4.0, 8.0, "b")]
    assert diarization_error_rate(truth, [(0.0, 4.0, "x"), (4.0, 8.0, "y")]) == 0
    assert diarization_error_rate(truth, [(0.0, 8.0, "x")]) == 0.5
    assert diarization_error_rate(truth, [(1.0, 4.0, "x"), (4.0, 9.0, "y")]) == 0.25


def test_overlap_counts_for_each_speaker() -> None:
    assert diarization_error_rate([(0.0, 4.0, "a"), (0.0, 4.0, "b")], [(0.0, 4.0, "x")]) == 0.5


def test_the_sample_talk_has_a_reference() -> None:
    turns = {path.name: turns for path, turns in references().items()}["talk.ogg"]
    assert len(turns) == 7
