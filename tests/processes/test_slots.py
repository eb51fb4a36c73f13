"""What `status` and `validate` say where releases run in slots: never that nothing runs."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ops.config import Settings
from ops.doctor.services import running
from ops.processes.slots import Slot, slots
from ops.processes.status import status
from ops.world import World

SYSTEMCTL = """#!/bin/sh
for unit; do case $unit in trunkline@*)
    . $(dirname $0)/$unit
    printf 'Id=%s\\nActiveState=%s\\nStatusText=%s\\nMainPID=%s\\nNRestarts=1\\nActiveEnterTimestamp=%s\\n\\n' \\
        $unit "$state" "$told" "$pid" "$at"
esac; done
"""


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A release in the slot green; blue has calls of the one before, amber is over."""
    units = {"blue": "state=deactivating told=calls=2 pid=11 at=@1764000000", "green": "state=active told=calls=1 pid=12 at=@1764000100", "amber": "state=inactive told= pid=0 at="}  # fmt: skip
    folder = tmp_path / "releases/0123456789ab"
    for path in (folder / "logs", tmp_path / "slots", tmp_path / "bin"):
        path.mkdir(parents=True)
    for number, (name, text) in enumerate(units.items()):
        (tmp_path / "slots" / name).symlink_to("../releases/0123456789ab")
        (tmp_path / f"slots/{name}.env").write_text(f"WEBSOCKET_PORT={18081 + number}\n")
        (tmp_path / f"bin/trunkline@{name}.service").write_text(text.replace(" ", "\n") + "\n")
    (tmp_path / "current").symlink_to("slots/green")
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Settings.load(folder, {}, files=False)


def test_status_tells_of_the_slots(release: Settings) -> None:
    """The one in force and the one that drains, as services; how many calls live in both."""
    found = status(release)
    rows = {row["name"]: row for row in found.data["services"]}
    assert {name: (row["state"], row["pid"], row["port"]) for name, row in rows.items()} == {
        "trunkline@blue": ("unready", 11, 18081),
        "trunkline@green": ("ready", 12, 18082),
    }
    assert rows["trunkline@green"]["since"] == "2025-11-24T16:01:40Z"
    assert found.data["live_calls"] == 3
    assert [one.status for one in found.findings] == ["ok", "ok"]
    assert "calls=2; it lets its calls end" in found.findings[0].summary


@pytest.mark.parametrize(("state", "status"), [("ready", "ok"), ("starting", "warn"), ("stopped", "fail"), ("failed", "fail")])  # fmt: skip
def test_the_slot_in_force_must_run(state: str, status: str) -> None:
    """New calls go to it: what has ended is a failure that says where to look."""
    assert Slot("trunkline@blue", True, state).finding().status == status


def test_a_slot_in_force_that_is_over_is_told(release: Settings) -> None:
    """It should run, so it is not left out as others are that are over."""
    (release.root.parent.parent / "bin/trunkline@green.service").write_text(
        "state=failed\ntold=\npid=0\nat=\n"
    )
    assert [(one.unit, one.state) for one in slots(release.root) if one.in_force] == [
        ("trunkline@green", "failed")
    ]
    (release.root.parent.parent / "bin/trunkline@blue.service").write_text(
        "state=failed\ntold=\npid=0\nat=\n"
    )
    assert [one.unit for one in slots(release.root)] == ["trunkline@green"]


def test_validate_points_to_the_slot(release: Settings) -> None:
    """There is no stack of ours, and that is no failure: the slot's own address is what to ask."""
    world = World.of(release, today=date(2025, 11, 24))
    found = running(world)
    assert found.status == "skip"
    assert "--at=http://127.0.0.1:18082" in found.summary
    elsewhere = replace(world, settings=replace(release, root=release.root.parent))
    assert running(elsewhere).status == "fail"
