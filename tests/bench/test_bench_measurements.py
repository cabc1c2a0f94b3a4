"""Each side of a measurement does its work and checks the result, here with small sizes."""

import json
from pathlib import Path

import pytest
from tests.bench import graph, intake, jobs, relay, search
from tests.bench.figures import Figure, Goal, table, write
from tests.support.stack import Stack

FIGURE = Figure("intake", "intake", 600.0, "events/s", 1000.0, "a bare loop", Goal("ratio", at_least=0.5))


async def test_intake_and_its_bare_loop_leave_the_same_rows(stack: Stack) -> None:
    topic = await intake.fill(stack, events=60)
    for side in (intake.ours, intake.bare):
        result = await side(stack, topic=topic, events=60)
        assert result["per_s"] > 0 < result["cpu_us"]


async def test_intake_fails_when_rows_are_missing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write_nothing(*_: object) -> None:
        return

    monkeypatch.setattr(intake, "_write", write_nothing)
    topic = await intake.fill(stack, events=10)
    with pytest.raises(AssertionError, match="10 events left"):
        await intake.bare(stack, topic=topic, events=10)


async def test_relay_and_a_bare_producer_send_every_record(stack: Stack) -> None:
    for side in (relay.ours, relay.bare):
        assert (await side(stack, events=60))["per_s"] > 0


async def test_queue_and_its_recorded_statements_complete_every_job(stack: Stack) -> None:
    for side in (jobs.ours, jobs.bare):
        assert (await side(stack, jobs=12))["per_s"] > 0


async def test_claims_are_measured_in_a_full_table(stack: Stack) -> None:
    empty, full = await jobs.crowded(stack, crowds=[(0, 0), (2_000, 3_000)], claims=20)
    assert empty["claim_p50"] > 0 < full["claim_pages"]


async def test_graph_and_its_bare_rows_contain_every_node(stack: Stack) -> None:
    for side in (graph.ours, graph.bare):
        assert (await side(stack, files=3))["per_s"] > 0


async def test_search_and_a_scan_are_measured_in_one_hour(stack: Stack) -> None:
    assert (await search.fill(stack, hours=1))["seconds"] > 0
    for side in (search.ours, search.bare):
        figures = await side(stack)
        assert set(figures) == set(search.QUERIES)
        assert min(figures.values()) > 0


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (Goal("ratio", at_least=0.5), True),
        (Goal("ratio", at_least=0.7), False),
        (Goal("value", at_most=599), False),
    ],
)
def test_goal_is_met_or_missed(goal: Goal, *, is_met: bool) -> None:
    assert goal.is_met(FIGURE) is is_met


def test_table_marks_missed_goals() -> None:
    slow = Figure("relay", "relay", 300.0, "events/s", 1000.0, "bare", Goal("ratio", at_least=0.5), 250.0)
    _, first, second = table([FIGURE, slow], "v1").splitlines()
    assert {"600", "0.60", "met"} <= set(first.split())
    assert {"300", "0.30", "MISSED", "250"} <= set(second.split())


def test_figures_are_stored_as_json(tmp_path: Path) -> None:
    path = tmp_path / "results" / "now.json"
    write(path, [FIGURE], {"rounds": 3})
    (stored,) = json.loads(path.read_text())["results"]
    assert {name: stored[name] for name in ("name", "value", "unit", "baseline", "ratio", "met")} == {
        "name": "intake",
        "value": 600.0,
        "unit": "events/s",
        "baseline": 1000.0,
        "ratio": 0.6,
        "met": True,
    }
