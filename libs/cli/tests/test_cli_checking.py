"""`graph check`: what differs between the services and the graph."""

from phonograph_cli.checking import differences


def test_same_things_in_the_same_versions_do_not_differ() -> None:
    assert differences({"music": {"a": 1}, "clip": {}}, {"music": {"a": 1}}) == []


def test_missing_left_over_and_outdated_things_differ() -> None:
    services = {"music": {"a": 1, "b": 2, "c": 3}}
    graph = {"music": {"b": 1, "c": 3, "d": 1}}
    assert differences(services, graph) == [
        {"kind": "music", "id": "a", "service": 1, "graph": None},
        {"kind": "music", "id": "b", "service": 2, "graph": 1},
        {"kind": "music", "id": "d", "service": None, "graph": 1},
    ]


def test_kind_that_the_graph_does_not_know_is_missing_whole() -> None:
    assert differences({"clip": {"x": 1}}, {}) == [{"kind": "clip", "id": "x", "service": 1, "graph": None}]


def test_kind_of_a_service_that_did_not_answer_is_not_held_against_the_graph() -> None:
    assert differences({}, {"music": {"a": 1}}) == []
