"""Progress of processes for people: single lines, or on a terminal a table that moves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ops.processes import outcome as processes
from ops.report import Printer, table


def teller(printer: Printer) -> processes.Progress:
    """Tells people every process event that says something new."""

    def tell(event: processes.Event) -> None:
        if line := process_line(event):
            printer.progress(line)

    return tell


@contextmanager
def board(printer: Printer) -> Iterator[processes.Progress]:
    """The progress of a start: on a terminal a live table of the services, what each waits for and since
    when; elsewhere a line for each event."""
    seen: dict[str, tuple[processes.ServiceSeen, float]] = {}
    live = printer.live(lambda: board_rows(seen, time.monotonic()))
    if live is None:
        yield teller(printer)
        return

    def tell(event: processes.Event) -> None:
        if isinstance(event, processes.ServiceSeen):
            same = event.name in seen and seen[event.name][0].state == event.state
            seen[event.name] = (event, seen[event.name][1] if same else time.monotonic())
            live.show()
        elif line := process_line(event):
            live.above(line)

    with live:
        yield tell


def board_rows(
    seen: dict[str, tuple[processes.ServiceSeen, float]], now: float, color: bool = False
) -> Iterable[str]:
    """The services as a table: state, seconds in it, process and port, what is waited for."""
    if not seen:
        return
    yield from table(
        [
            {
                "service": name,
                "state": one.state,
                "for": f"{now - since:.1f} s",
                "pid": one.pid,
                "port": one.port,
                "waits for": "" if one.state == "ready" else one.reason,
            }
            for name, (one, since) in seen.items()
        ],
        color,
    )


def process_line(event: object) -> str:
    """What a process event says to a person; empty when it says nothing new."""
    match event:
        case processes.ServiceSeen(name, state, seconds, reason):
            return f"{seconds:6.2f} s  {name:<18} {state}" + (f" – {reason}" if reason else "")
        case processes.WaitsForLock(seconds):
            return f"{seconds:6.2f} s  another command works on this stack; waiting for it"
        case processes.TakesOver(holder):
            return f"ending the holder of the port: {holder}"
        case processes.Replaces(name, why):
            return f"{name} is replaced: {why}"
        case processes.Drains(name, live_calls, oldest, left):
            age = f", oldest {oldest:.0f} s" if oldest is not None else ""
            return (
                f"{name}: {live_calls} call{'s' * (live_calls != 1)} live{age}; waiting at most {left:.0f} s"
            )
        case processes.StillThere(name, pid, seconds, why):
            return f"waiting for {name} (pid {pid}) since {seconds:.0f} s: {why}"
        case processes.Ended(name, pid, signal, ms):
            return f"{name} (pid {pid}) ended by {signal} in {ms:.0f} ms"
    return ""
