"""`graph check`: the differences between the services and the graph."""

from phonograph_cli.graph_check import find_differences


def test_equal_versions_do_not_differ() -> None:
    assert find_differences({"music": {"a": 1}, "clip": {}}, {"music": {"a": 1}}) == []


def test_missing_superfluous_and_outdated_entries_differ() -> None:
    services = {"music": {"a": 1, "b": 2, "c": 3}}
    graph = {"music": {"b": 1, "c": 3, "d": 1}}
    assert find_differences(services, graph) == [
        {"kind": "music", "id": "a", "service": 1, "graph": None},
        {"kind": "music", "id": "b", "service": 2, "graph": 1},
        {"kind": "music", "id": "d", "service": None, "graph": 1},
    ]


def test_every_entry_of_a_kind_that_the_graph_lacks_is_missing() -> None:
    assert find_differences({"clip": {"x": 1}}, {}) == [
        {"kind": "clip", "id": "x", "service": 1, "graph": None}
    ]


def test_kinds_of_a_service_that_did_not_answer_are_not_compared() -> None:
    assert find_differences({}, {"music": {"a": 1}}) == []
