"""What was said in a call, in order, as values: enough to tell a new session everything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ops.apps.dialect import Dialect
from ops.vendors.openai.events import ToolCall

ENTRIES = 400  # the last ones are replayed; older ones are forgotten
UNKNOWN = "The line broke while this ran. It may or may not have happened; do not call it again unasked."


@dataclass
class Said:
    """One side's words; `heard_ms` of `produced_ms` is what the caller heard of an answer that was cut."""

    id: str
    by: Literal["caller", "agent"]
    text: str = ""
    heard_ms: int | None = None
    produced_ms: int = 0
    whole: bool = False  # the model had produced all of it, or the caller's words are known
    played: bool = False  # the caller heard it to its end

    @property
    def heard(self) -> str:
        """The words that were heard, by their share of the time; a dash marks where they broke off."""
        if self.heard_ms is None or self.heard_ms >= self.produced_ms > 0:
            return self.text
        words = self.text.split()
        kept = words[: round(len(words) * self.heard_ms / max(1, self.produced_ms))]
        return " ".join([*kept, "—"]) if kept else ""


@dataclass
class Used:
    """One tool call of the model; `output` is None while it runs."""

    id: str
    name: str
    arguments: str
    output: str | None = None
    by: Literal["tool"] = "tool"


Entry = Said | Used


class Dialogue:
    """The conversation of one call, whichever session it was had in."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[str, Entry] = {entry.id: entry for entry in entries}
        self._running = sum(map(_runs, self._entries.values()))  # counted: it is asked for at every event

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Entry | None:
        return next(reversed(self._entries.values()), None)

    def said(self, by: Literal["caller", "agent"], item_id: str) -> Said:
        """The entry of an item, made at its first mention: that is its place in the order."""
        entry = self._entries.get(item_id)
        if not isinstance(entry, Said):
            self._running -= _runs(entry)
            entry = self._entries[item_id] = Said(item_id, by)
            while len(self._entries) > ENTRIES:
                self._running -= _runs(self._entries.pop(next(iter(self._entries))))
        return entry

    def find(self, item_id: str) -> Said | None:
        entry = self._entries.get(item_id)
        return entry if isinstance(entry, Said) else None

    def called(self, call: ToolCall) -> Used | None:
        """A new tool call's entry; None when this call is known, so that it never runs twice."""
        if call.call_id in self._entries:
            return None
        entry = self._entries[call.call_id] = Used(call.call_id, call.name, call.arguments)
        self._running += 1
        return entry

    def returned(self, call_id: str, output: str) -> Used | None:
        """A tool call's entry with its output; None when it is unknown or has one already."""
        entry = self._entries.get(call_id)
        if not isinstance(entry, Used) or entry.output is not None:
            return None
        entry.output = output
        self._running -= 1
        return entry

    @property
    def running(self) -> bool:
        """Whether a tool has not returned yet."""
        return self._running > 0

    @property
    def unanswered(self) -> tuple[Said, ...]:
        """The caller's last words with no answer after them."""
        found: list[Said] = []
        for entry in reversed(self._entries.values()):
            if not isinstance(entry, Said) or entry.by != "caller":
                break
            found.append(entry)
        return tuple(reversed(found))

    def replay(self, dialect: Dialect) -> list[str]:
        """The conversation as commands for a new session: what was said, what was heard, what was called."""
        commands = []
        for entry in self._entries.values():
            if isinstance(entry, Used):
                commands.append(dialect.tool_call(entry.id, entry.name, entry.arguments))
                if entry.output is not None:
                    commands.append(dialect.tool_output(entry.id, entry.output))
            elif entry.heard:
                role = "user" if entry.by == "caller" else "assistant"
                commands.append(dialect.message(role, entry.heard))
        return commands


def _runs(entry: Entry | None) -> bool:
    return isinstance(entry, Used) and entry.output is None


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as it stands in the call's file."""
    # not `vars`: an entry that was asked for its dictionary keeps one
    return {name: getattr(entry, name) for name in (_USED if isinstance(entry, Used) else _SAID)}


def of_json(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """The entries of a call's file: the last version of each, in the order in which they began.

    A tool that had not returned is told to be unknown: it is never run a second time.
    """
    found: dict[str, Entry] = {}
    for row in rows:
        kind, names = (Used, _USED) if row.get("by") == "tool" else (Said, _SAID)
        try:
            entry = kind(**{name: row[name] for name in names if name in row})
        except TypeError:
            continue
        found[entry.id] = entry
    for entry in found.values():
        if isinstance(entry, Used) and entry.output is None:
            entry.output = UNKNOWN
    return list(found.values())


_SAID, _USED = (tuple(field.name for field in fields(kind)) for kind in (Said, Used))
