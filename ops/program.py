"""`inv -H a,b TASK…`: teaches the running `inv` the flag, and is the script `ops`, which knows it already.

Plain Invoke reads its own flags first and keeps what it does not know; then it imports tasks.py; then it
reads the rest. `adopt()`, called while tasks.py is imported, makes the running program one of ours and
lets it read its arguments again. Imports nothing but Invoke: `inv --list` must cost what plain Invoke costs.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from invoke.exceptions import ParseError
from invoke.executor import Executor
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.program import Program

HOSTS = "Hosts to run the tasks on: names or groups of ops.toml, SSH aliases, user@host:port; a,b,c."


class OpsProgram(Program):
    """Invoke's program with one more flag: the hosts to run the tasks on."""

    adopted = False  # it is the whole process, and nothing comes after it

    def core_args(self) -> list[Argument]:
        return [*super().core_args(), Argument(names=("hosts", "H"), help=HOSTS)]

    def no_tasks_given(self) -> None:
        if self.args.hosts.value is not None:
            raise ParseError("-H needs at least one task, like: inv -H web1 status")
        super().no_tasks_given()

    def execute(self) -> None:
        hosts = self.args.hosts.value
        if hosts is None:
            super().execute()
            if self.adopted:
                _leave()
            return
        if not self.tasks:
            raise ParseError("-H needs at least one task, like: inv -H web1 status")
        if self.core.remainder:
            raise ParseError(
                f"-H runs tasks, no free commands: nothing can stand behind -- ({self.core.remainder!r})"
            )
        if self.args.dry.value:
            raise ParseError("-R shows nothing of what happens on hosts; deploy has --dry-run")
        from ops.commands.remote import on_hosts

        def here(task: ParserContext, chosen: str) -> None:
            self.config["hosts"] = chosen
            Executor(self.collection, self.config, self.core).execute(task)

        on_hosts(Path(self.collection.loaded_from), hosts, tuple(self.tasks), here=here)


def adopt() -> bool:
    """Make the running `inv` one of ours; False where there is none, because tasks.py is only imported."""
    import invoke.main

    program = invoke.main.program
    if isinstance(program, OpsProgram) or not program.argv or not hasattr(program, "core"):
        return False
    before = _whence(program)
    program.__class__ = OpsProgram
    program.adopted = True  # type: ignore[attr-defined]  # its class has just changed
    program.parse_core_args()
    if _whence(program) != before:
        raise ParseError("-c and -r must come before -H")
    return True


def main() -> None:
    """The script `ops`: `inv` for tasks that are not ours, too, and with -H in its --help."""
    OpsProgram(name="Trunkline", binary="ops", binary_names=["ops"], version=_version()).run()


def _leave() -> None:
    """End the process without taking the interpreter apart first, which a person would wait for: the kernel
    frees all the same. Not with threads at work, or with output that does not go out."""
    if threading.active_count() > 1:
        return
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _whence(program: Program) -> tuple[object, ...]:
    return tuple(program.args[name].value for name in ("collection", "search-root"))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trunkline")
    except PackageNotFoundError:
        return "unknown"
