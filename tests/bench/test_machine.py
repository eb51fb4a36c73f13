"""The circumstances of a run: which versions a reader needs to compare it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from ops.bench.machine import machine


def test_the_versions_that_the_figures_hang_on_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the bridge's sockets and loop; Node's own where there is one that says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    told = machine().sentence
    for name in ("picows", "uvloop", "websockets"):
        assert f"{name} {metadata.version(name)}" in told
    assert "node" not in told
    node = tmp_path / "node"
    for says, found in (("v99.1.0", "node 99.1.0;"), ("not a version", "")):
        node.write_text(f"#!/bin/sh\necho {says}\n")
        node.chmod(0o700)
        assert ("node" in machine().sentence, found in machine().sentence) == (bool(found), True)
