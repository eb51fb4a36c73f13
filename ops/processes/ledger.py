"""What the supervisor tells: its state file, its journal, and how much of both was lost on the way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ops.journal.entry import Entry
from ops.journal.redact import Redactor
from ops.journal.sinks import Sinks
from ops.processes.records import Stack, Wanted
from ops.processes.run_files import RunFiles
from ops.processes.tail import record, secret_values


class Ledger:
    """Writes for the supervisor; a full or missing disk is counted, and hinders nothing."""

    def __init__(self, files: RunFiles, wanted: Wanted) -> None:
        self.lost: dict[str, int] = {}
        self.behind = False  # the state file does not say yet how things stand
        self._files = files
        self.orders_changed(wanted)

    def orders_changed(self, wanted: Wanted) -> None:
        """There may be other secrets now."""
        redactor = Redactor(secret_values(one.env for one in wanted.services))
        self._sinks = Sinks(self._files.logs, redactor)

    def say(self, event: str, message: str, level: str = "INFO") -> None:
        self.carry([record(event, message, level)])

    def carry(self, entries: Iterable[Entry]) -> None:
        self._sinks.write(entries)
        if self._sinks.lost:
            self._count("lines", self._sinks.lost)

    def rotate(self) -> None:
        """Keep the logs of a long run from growing without end; what could not be done is told."""
        from ops.journal.rotate import rotate  # not before a minute has passed: no start waits for it

        for finding in rotate(self._files.logs, now=datetime.now(UTC)):
            if finding.status == "warn":
                self.say(finding.id, finding.summary, "WARNING")

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
