"""The level that stands above every service's own for a while: a file that they look at once a second."""

from __future__ import annotations

from pathlib import Path


def level_file(logs: Path) -> Path:
    return logs / "run" / "log-level"


def override_level(logs: Path, level: str | None) -> None:
    """Make all running services log at `level` within about a second; None ends that."""
    path = level_file(logs)
    if level is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(f"{level}\n", "ascii")
