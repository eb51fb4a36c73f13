"""The ngrok agent's own log and its program; the rest of its checks is proved in the bug zoo."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ops.config import Settings
from ops.vendors.ngrok import checks
from ops.world import World

REFUSED = '{"err":"authentication failed: Your account is limited to 1 session. ERR_NGROK_108","lvl":"eror"}'
STARTED = '{"lvl":"info","msg":"started tunnel","url":"https://a.ngrok.app"}'


def _world(root: Path, **environ: str) -> World:
    return World.of(Settings.load(root, environ), today=date(2026, 11, 23))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([STARTED], "ok"),
        ([REFUSED], "fail"),
        ([REFUSED, STARTED], "ok"),
        ([STARTED, REFUSED], "fail"),
        ([], "ok"),
    ],
)
def test_the_last_word_of_the_log_counts(lines: list[str], status: str, root: Path) -> None:
    """An error is news unless a tunnel started after it."""
    (root / "logs" / "ngrok.out").write_text("\n".join(lines))
    found = checks.log(_world(root))
    assert found.status == status
    if status == "fail":
        assert "ERR_NGROK_108: the account's agent session is in use elsewhere" in found.summary


def test_no_log_is_well(root: Path) -> None:
    """Before the first start there is nothing to read."""
    assert checks.log(_world(root)).status == "ok"


def test_a_live_tunnel_needs_its_program(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token and no ngrok on the PATH the fix says where to get it; without one none is needed."""
    monkeypatch.setenv("PATH", str(root))
    assert checks.binary(_world(root)).status == "ok"
    live = {"NGROK_AUTH_TOKEN": "t1a2b3c4d5"}
    assert checks.binary(_world(root, **live)).status == "fail"
    assert checks.binary(_world(root, **live, PUBLIC_URL="https://a.test")).status == "ok"
    (root / "ngrok").write_text("#!/bin/sh\n")
    (root / "ngrok").chmod(0o755)
    assert checks.binary(_world(root, **live)).status == "ok"
