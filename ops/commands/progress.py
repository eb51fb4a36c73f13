"""Progress of processes and calls as single lines for people."""

from __future__ import annotations

from ops.processes import outcome as processes
from ops.report import Printer


def teller(printer: Printer) -> processes.Progress:
    """Tells people every process event that says something new."""

    def tell(event: processes.Event) -> None:
        if line := process_line(event):
            printer.progress(line)

    return tell


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
