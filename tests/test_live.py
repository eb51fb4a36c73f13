"""Lines that move: on a terminal they are drawn in place, elsewhere there are none."""

from __future__ import annotations

import io

from ops.commands.progress import board, board_rows
from ops.live import Live
from ops.processes.outcome import Replaces, ServiceSeen
from ops.report import Printer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_board_tells_state_time_and_what_is_waited_for() -> None:
    """One row a service; one that is ready waits for nothing."""
    seen = {
        "bridge": (ServiceSeen("bridge", "starting", 0.1, "waits for ngrok", None, 8081), 10.0),
        "page": (ServiceSeen("page", "ready", 0.4, "nothing listens", 77, 3000), 11.5),
    }
    head, bridge, page = board_rows(seen, now=12.0)
    assert head.split() == ["SERVICE", "STATE", "FOR", "PID", "PORT", "WAITS", "FOR"]
    assert bridge.split() == ["bridge", "starting", "2.0", "s", "-", "8081", "waits", "for", "ngrok"]
    assert page.split() == ["page", "ready", "0.5", "s", "77", "3000"]


def test_a_start_on_a_terminal_draws_and_elsewhere_tells_lines() -> None:
    """The same events: a table that vanishes at the end on a terminal, single lines in a file."""
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with board(Printer(json=False, no_color=True, out=io.StringIO(), err=stream)) as tell:
            tell(ServiceSeen("page", "starting", 0.0, "waits for ngrok"))
            tell(Replaces("page", "its settings changed"))
    assert "SERVICE" in terminal.getvalue()
    assert "page is replaced: its settings changed" in terminal.getvalue()
    assert file.getvalue().splitlines() == [
        "  0.00 s  page               starting – waits for ngrok",
        "page is replaced: its settings changed",
    ]


def test_nothing_is_drawn_for_a_program() -> None:
    """Under --json no line moves, also on a terminal."""
    terminal = Terminal()
    printer = Printer(json=True, no_color=True, out=io.StringIO(), err=terminal)
    assert printer.live(lambda: ["x"]) is None
    with board(printer) as tell:
        tell(ServiceSeen("page", "starting", 0.0))
    assert terminal.getvalue() == ""


def test_what_is_drawn_is_drawn_anew() -> None:
    """Each look shows the lines as they are then; the last ones stay unless they are transient."""
    terminal = Terminal()
    state = ["one"]
    with Live(terminal, lambda: state, no_color=True, transient=False) as live:
        live.show()
        state[0] = "two"
        live.show()
        live.above("kept")
    assert all(word in terminal.getvalue() for word in ("one", "two", "kept"))
