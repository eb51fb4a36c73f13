"""The programs of one's own stack: found, or named with the command that installs them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from ops.config import Settings
from ops.doctor import programs
from ops.findings import Finding
from ops.world import World


def _ask(root: Path, command: str, **files: str) -> Finding:
    (root / "web").mkdir()
    for name, text in files.items():
        (root / "web" / name.replace("_", ".", 1)).write_text(text)
    (root / "ops.toml").write_text(f'[services.web]\ncommand = "{command}"\ncwd = "web"\nport = 3000\n')
    return programs.programs(World.of(Settings.load(root, {}), today=date(2026, 11, 23)))


def test_a_program_that_is_there_is_well(root: Path) -> None:
    """On the PATH, or in the service's own folder."""
    assert _ask(root, "sh -c true").status == "ok"


def test_a_program_that_is_not_there_is_named(root: Path) -> None:
    """With the table of ops.toml that names it."""
    found = _ask(root, "no-such-program --port 1")
    assert found.status == "fail"
    assert "[services.web]" in (found.fix or "")


@pytest.mark.parametrize(
    ("lock", "command"), [("package-lock_json", "npm ci"), ("yarn_lock", "yarn install")]
)
def test_packages_that_are_not_installed_are_named(
    lock: str, command: str, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A fresh clone without node_modules: the packages, and the install command of its lock file."""
    (tmp_path / "node").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    package = json.dumps({"dependencies": {"ws": "8", "express": "5"}})
    found = _ask(root, f"{tmp_path}/node server.js", package_json=package, **{lock: ""})
    assert found.evidence["missing"] == ["ws", "express"]
    assert command in (found.fix or "")
    for name in ("ws", "express"):
        (root / "web/node_modules" / name).mkdir(parents=True)
    again = programs.programs(World.of(Settings.load(root, {}), today=date(2026, 11, 23)))
    assert again.status == "ok"
