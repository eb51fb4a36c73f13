"""Restart on code change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ops.processes.environment import PACKAGE
from ops.processes.watcher import NAME, touched
from ops.services import Service
from tests.processes.conftest import Rig, until


def test_only_the_changed_service_restarts(rig: Rig) -> None:
    """With `watch` a change of its code gives a service a new process, and no other one."""
    services = []
    for name in ("one", "two"):
        (rig.root / name).mkdir()
        services.append(rig.service(name, cwd=rig.root / name))
    assert not rig.start(*services, watch=True).failed
    before = rig.pid("one"), rig.pid("two")
    log = rig.files.logs / f"{NAME}.jsonl"
    until(lambda: log.exists() and "watch.started" in log.read_text())
    (rig.root / "one" / "app.js").write_text("changed")
    until(lambda: rig.stands("one", state="ready") not in (None, before[0]), 15.0)
    assert rig.pid("two") == before[1]


def test_which_files_are_code() -> None:
    """Code in a service's folder counts; logs, dependencies, hidden folders and other files do not."""
    own = Service("own", ("node", "x.js"), Path("/p/web"))
    ours = replace(own, name="ours", argv=("python", "-m", "ops.apps.bridge"))
    assert touched(Path("/p/web/src/a.ts"), [own, ours]) == ["own"]
    assert touched(PACKAGE / "ops" / "services.py", [own, ours]) == ["ours"]
    for path in (
        "/p/web/node_modules/a.js",
        "/p/web/.next/a.js",
        "/p/web/logs/x.json",
        "/p/web/a.log",
        "/p/b.js",
    ):
        assert touched(Path(path), [own]) == []
