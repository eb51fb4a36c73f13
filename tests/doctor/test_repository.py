"""Credentials in the working tree and in history, and .env files that git holds: with real repositories."""

from __future__ import annotations

import secrets
import subprocess
from datetime import date
from pathlib import Path

import pytest

from ops.config import Settings
from ops.doctor import repository
from ops.world import World


@pytest.fixture
def key() -> str:
    return "sk-proj-" + secrets.token_hex(24)


@pytest.fixture
def world(root: Path) -> World:
    return World.of(Settings.load(root, {}), today=date(2026, 11, 23))


def _git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(("git", "-C", str(root), *identity, *arguments), check=True, capture_output=True)


def test_a_credential_in_a_file_is_found(world: World, key: str) -> None:
    """Without git, too: the file and line are named, the credential is not."""
    root = world.settings.root
    (root / "NOTES.md").write_text(f"# Notes\nuse {key} for tests\n")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "x.js").write_text(f"const k = '{key}'")
    found = repository.tree(world)
    assert (found.status, found.evidence["found"]) == ("fail", ["OpenAI key in NOTES.md:2"])
    assert key not in str(found.to_dict())


def test_ignored_files_and_env_are_left_out(world: World, key: str) -> None:
    """What git ignores, and the .env that is meant to hold credentials, raise no alarm."""
    root = world.settings.root
    _git(root, "init")
    (root / ".gitignore").write_text("/.env\n/private/\n/logs/\n")
    (root / ".env").write_text(f"OPENAI_API_KEY={key}\n")
    (root / "private").mkdir()
    (root / "private" / "a.txt").write_text(key)
    assert repository.tree(world).status == "ok"
    assert repository.env_tracked(world).status == "ok"


def test_a_credential_that_was_removed_is_still_in_history(world: World, key: str) -> None:
    """The commit that added it is named; the clean tree does not hide it."""
    root = world.settings.root
    _git(root, "init")
    (root / "app.py").write_text(f"KEY = '{key}'\n")
    _git(root, "add", "app.py")
    _git(root, "commit", "-m", "first")
    (root / "app.py").write_text("KEY = None\n")
    _git(root, "commit", "-am", "second")
    assert repository.tree(world).status == "ok"
    found = repository.history(world)
    assert found.status == "fail"
    assert "app.py" in found.summary
    assert key not in str(found.to_dict())


def test_a_clean_history_is_well(world: World) -> None:
    """Commits without credentials raise no alarm, nor does a repository without commits or none at all."""
    root = world.settings.root
    assert repository.history(world).status == "skip"
    _git(root, "init")
    assert repository.history(world).status == "ok"
    (root / "a.txt").write_text("hello\n")
    _git(root, "add", "a.txt")
    _git(root, "commit", "-m", "first")
    assert repository.history(world).status == "ok"


def test_a_tracked_env_is_a_failure(world: World, key: str) -> None:
    """.env in git is named, with the way out; its credentials in history count too."""
    root = world.settings.root
    _git(root, "init")
    (root / ".env").write_text(f"OPENAI_API_KEY={key}\n")
    _git(root, "add", ".env")
    _git(root, "commit", "-m", "first")
    found = repository.env_tracked(world)
    assert found.status == "fail"
    assert "git rm --cached .env" in (found.fix or "")
    assert repository.history(world).status == "fail"


def test_an_env_that_git_would_take_is_a_warning(world: World) -> None:
    """.env that nobody ignores goes in with the next `git add .`."""
    root = world.settings.root
    assert repository.env_tracked(world).status == "skip"
    _git(root, "init")
    (root / ".env").write_text("LOG_LEVEL=INFO\n")
    assert repository.env_tracked(world).status == "warn"
