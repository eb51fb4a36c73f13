"""Lines of a terminal that are drawn anew while something goes on; Rich is imported when they appear."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO, Any

PER_SECOND = 10  # how often the lines are drawn, so that a clock in them runs


class Live:
    """The lines that `draw` gives (ANSI colours may stand in them), redrawn in place until it is left.

    They vanish at the end if `transient`. Nothing is drawn before the first `show`.
    """

    def __init__(
        self, stream: IO[str], draw: Callable[[], Iterable[str]], *, no_color: bool, transient: bool = True
    ) -> None:
        self._stream, self._draw = stream, draw
        self._no_color, self._transient = no_color, transient
        self._live: Any = None

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self) -> None:
        """Draw now."""
        if self._live is None:
            from rich.console import Console
            from rich.live import Live as RichLive

            console = Console(file=self._stream, no_color=self._no_color, highlight=False)
            self._live = RichLive(
                console=console,
                get_renderable=self._renderable,
                transient=self._transient,
                refresh_per_second=PER_SECOND,
                vertical_overflow="visible",
            )
            self._live.start()
        self._live.refresh()

    def above(self, line: str) -> None:
        """One line that stays, above those that move."""
        if self._live is None:
            print(line, file=self._stream, flush=True)
        else:
            self._live.console.print(line, markup=False)

    def _renderable(self) -> Any:
        from rich.text import Text

        return Text.from_ansi("\n".join(self._draw()), no_wrap=True, overflow="ellipsis")
