"""`inv bench` from a real command line."""

from __future__ import annotations

import pytest

from tests.conftest import Project


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("processes", "--rounds", "0"),
        ("processes", "--only", "pm3"),
        ("bridge", "--only", "haproxy"),
        ("bridge", "--only", "churn,trunkline"),
        ("simulators", "--install"),
    ],
)
def test_what_does_not_exist_is_a_setting_error(project: Project, arguments: tuple[str, ...]) -> None:
    """Another bench, no round, an unknown tool or design: exit 2 before anything is measured, and what there is."""
    document = project.json("bench", *arguments)
    assert document["exit_code"] == 2
    assert document["findings"][-1]["fix"]
