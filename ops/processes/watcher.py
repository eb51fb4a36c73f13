"""Restarts services when their code changes: a small supervised program of its own, for `basic`.

    python -m ops.processes.watcher PROJECT-FOLDER

It watches the folders of the services in `logs/run/wanted.json` and orders a new start of those
whose files changed, by the same way as a command does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ops.processes import handle
from ops.processes.apply import end_services
from ops.processes.environment import PACKAGE, is_ours, python
from ops.processes.lock import stack_lock
from ops.processes.observe import look
from ops.processes.outcome import silent
from ops.processes.run_files import RunFiles
from ops.services import Ready, Service

if TYPE_CHECKING:
    from ops.config import Settings

NAME = "code-watcher"
CODE = (".py", ".js", ".mjs", ".cjs", ".ts", ".tsx", ".jsx", ".json", ".html", ".css", ".toml")
SKIPPED = {"node_modules", "logs", "tests", "__pycache__", "dist", "build", "venv"}


def service(settings: Settings, watched: Sequence[Service]) -> Service:
    """The watcher itself, as one more service."""
    return Service(
        name=NAME,
        argv=python("ops.processes.watcher", str(settings.root)),
        cwd=settings.root,
        ready=Ready("alive"),
        env={"PYTHONPATH": str(PACKAGE)},
        grace=1.0,
    )


def touched(path: Path, services: Iterable[Service]) -> list[str]:
    """The services whose code a changed file is. Pure."""
    if path.suffix not in CODE:
        return []
    return [
        one.name
        for one in services
        if one.name != NAME and any(_within(path, folder) for folder in code_folders(one))
    ]


def code_folders(service: Service) -> list[Path]:
    """Where a service's code is: our package for our programs, its own folder for others."""
    return [PACKAGE / "ops"] if is_ours(service) else [service.cwd]


def _within(path: Path, folder: Path) -> bool:
    try:
        parts = path.relative_to(folder).parts
    except ValueError:
        return False
    return not any(part in SKIPPED or part.startswith(".") for part in parts)


def restart(files: RunFiles, names: frozenset[str]) -> None:
    """End these services and order them anew."""
    with stack_lock(files, silent):
        situation = look(files)
        if situation.wanted is None or situation.supervisor is None:
            return
        names = frozenset(o.service.name for o in situation.wanted.orders if not o.held) & names
        if not names:
            return
        held = situation.wanted.held(names)
        supervisor = handle.give_orders(files, held, situation.supervisor)
        end_services(held, names, drain_seconds=5.0)
        handle.give_orders(files, held.renewed(names), supervisor)


def main(root: Path) -> None:
    from watchfiles import watch

    from ops.journal import write

    files = RunFiles(root)
    write.setup(NAME, files.logs)
    log = write.logger("ops.processes.watcher")
    wanted = files.wanted()
    services = wanted.services if wanted else ()
    folders = {folder for one in services if one.name != NAME for folder in code_folders(one)}
    log.info("watch.started", f"watching {', '.join(map(str, sorted(folders)))}")
    for changes in watch(*folders, debounce=300, step=50, raise_interrupt=False):
        names = {name for _, path in changes for name in touched(Path(path), services)}
        if names:
            changed = sorted({Path(path).name for _, path in changes})[:5]
            log.info("watch.changed", f"{', '.join(changed)} changed: {', '.join(sorted(names))} restart")
            restart(files, frozenset(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
