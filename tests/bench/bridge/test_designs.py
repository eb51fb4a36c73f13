"""How the bridges that are measured are described: who is absent, and what each is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.apps.playout import MARK_EVERY
from ops.bench import install
from ops.bench.bridge import certificate
from ops.bench.bridge.designs import Scene, designs, on_core
from ops.bench.bridge.run import UnknownDesign, chosen_of

VARIANTS = ["without-lane", "two-workers"]  # of ours
RARE = "node-ws-rare-marks"


def test_peers_are_absent_where_none_is_installed(tmp_path: Path) -> None:
    """Ours and a relay over our own `websockets` are always there, the others by --install."""
    found = install.installed(tmp_path, install.RELAYS)
    present = [one.name for one in designs(tmp_path, found) if one.version is not None]
    assert present == ["trunkline", "websockets", *VARIANTS]


def test_variants_are_measured_where_they_are_named(tmp_path: Path) -> None:
    """And a name that there is not is told with those that there are."""
    every = designs(tmp_path, {})
    assert [one.name for one in chosen_of(every, ())] == ["trunkline", "node-ws", "fastapi", "websockets"]
    assert [one.name for one in chosen_of(every, ("two-workers", "trunkline"))] == [
        "trunkline",
        "two-workers",
    ]
    assert [one.name for one in chosen_of(every, ("trunkline", RARE))] == ["trunkline", RARE]
    with pytest.raises(UnknownDesign, match="no design nod") as problem:
        chosen_of(every, ("nod",))
    assert "without-lane" in str(problem.value.fix)


def test_each_is_told_the_model_and_whom_to_trust(tmp_path: Path) -> None:
    """The model's address by argument or setting; ours has a signed webhook for a door, a relay has none."""
    trusted, _ = certificate.make(tmp_path)
    scene = Scene(tmp_path, 45001, "wss://localhost:45002/v1/realtime", trusted)
    assert set(scene.trust.values()) == {str(trusted)}
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    for one in designs(tmp_path, {}):
        way = one.way(scene)
        assert scene.model in (*way.argv, *way.environment.values()), one.name
        ours = one.name in ("trunkline", *VARIANTS)
        assert (bool(way.door.webhook), bool(way.door.token)) == (ours, ours)


def test_a_relay_is_told_how_seldom_to_set_marks(tmp_path: Path) -> None:
    """Behind each frame as the public sample does, or, in the variant, for each fifth of a second as ours does."""
    scene = Scene(tmp_path, 45001, "ws://localhost:45002/v1/realtime", None)
    told = {one.name: one.way(scene).argv[-1] for one in designs(tmp_path, {"ws": "8"})}
    assert (told["node-ws"], told[RARE]) == ("1", f"{MARK_EVERY / 20:g}")


def test_a_core_is_given_back() -> None:
    """What is started within has one core; afterwards all are ours again."""
    before = os.sched_getaffinity(0)
    with on_core(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
