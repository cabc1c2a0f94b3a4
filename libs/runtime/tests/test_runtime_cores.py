"""The number of usable cores is that of the process, not that of the machine."""

import os
from pathlib import Path

import pytest

from phonograph_runtime import cores
from phonograph_runtime.cores import count_cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 6),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 6),
        ("odd", 6),
        (None, 6),
    ],
)
def test_the_quota_of_a_container_limits_the_cores(tmp_path: Path, monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert count_cores() == expected
