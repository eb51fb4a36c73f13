"""What the supervisor tells: its state file, its journal, and how much of both was lost on the way."""

from __future__ import annotations

from collections.abc import Iterable

from ops.journal.entry import Entry
from ops.processes.records import Stack, Wanted
from ops.processes.run_files import RunFiles
from ops.processes.tail import Journal, record, secret_values


class Ledger:
    """Writes for the supervisor; a full or missing disk is counted, and hinders nothing."""

    def __init__(self, files: RunFiles, wanted: Wanted) -> None:
        self.lost: dict[str, int] = {}
        self.behind = False  # the state file does not say yet how things stand
        self._files = files
        self.orders_changed(wanted)

    def orders_changed(self, wanted: Wanted) -> None:
        """There may be other secrets now."""
        self._journal = Journal(self._files.logs, secret_values(one.env for one in wanted.services))

    def say(self, event: str, message: str, level: str = "INFO") -> None:
        self.carry([record(event, message, level)])

    def carry(self, entries: Iterable[Entry]) -> None:
        if lost := self._journal.write(entries):
            self._count("lines", lost)

    def write(self, stack: Stack) -> None:
        try:
            self._files.write_stack(stack)
            self.behind = False
        except OSError:
            self.behind = True
            self._count("state_writes", 1)

    def restore(self, wanted: Wanted) -> None:
        """Make up for what was deleted under us, or could not be written."""
        if not self._files.stack_path.exists():
            self.behind = True
        if not self._files.wanted_path.exists():
            try:
                self._files.write_wanted(wanted)
            except OSError:
                self._count("state_writes", 1)

    def _count(self, kind: str, number: int) -> None:
        self.lost[kind] = self.lost.get(kind, 0) + number
