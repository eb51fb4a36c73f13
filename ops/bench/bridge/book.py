"""What becomes of each watermarked frame: sent, heard by the model, back at its phone. Pure.

Both ends of the load write here, on one clock, so that each direction is timed for itself.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from ops.bench.bridge.frames import DIGITS, MOST_CALLS, PER_CALL
from ops.bench.figures import percentile

LATE = 0.010  # seconds after which a frame of the load counts as late
HUSH = 0.6  # seconds in which nobody speaks before each window: what a bridge still holds back is played
SETTLE = 0.6  # seconds of speech then, before frames count
REMEMBERED = 2048  # frames of a call whose times are kept: 40 s


@dataclass(frozen=True)
class Window:
    """What happened to the frames of some seconds; ms. `slip` and `late` are the load's own."""

    frames: int
    lost: int
    crossed: int
    p50: float
    p99: float
    up_p99: float  # from the phone to the model
    slip_p99: float
    late: float  # share of the frames that left late


@dataclass(slots=True)
class Calls:
    """The frames of every call, and the times of those that count."""

    measuring: bool = False
    up: array[float] = field(default_factory=lambda: array("d"))  # seconds from phone to model
    there_and_back: array[float] = field(default_factory=lambda: array("d"))  # to the model and back
    slips: array[float] = field(default_factory=lambda: array("d"))  # seconds that a frame left too late
    crossed: int = 0  # frames that came to another call than their own
    disordered: int = 0  # frames that came before an earlier one, or twice
    pages: dict[int, Page] = field(default_factory=dict)
    _next: int = 0

    def open(self) -> Page:
        """A new call of the next number."""
        number, self._next = self._next, (self._next + 1) % MOST_CALLS
        page = self.pages[number] = Page(number, self)
        return page

    def close(self, page: Page) -> None:
        """The call is over: its frames are not waited for."""
        del self.pages[page.call]

    def heard(self, payload: bytes, now: float) -> None:
        """The model was sent this audio."""
        if not self.measuring:
            return
        call, number = divmod(int(payload[:DIGITS]), PER_CALL)
        page = self.pages.get(call)
        if page is None:
            return
        if page.from_number <= number < page.sent:
            self.up.append(now - page.sent_at[number % REMEMBERED])

    def begin(self) -> None:
        """From now on each frame that leaves a phone counts."""
        self.up, self.there_and_back, self.slips = array("d"), array("d"), array("d")
        self.crossed = self.disordered = 0
        for page in self.pages.values():
            page.from_number, page.until_number, page.came = page.sent, PER_CALL, 0
        self.measuring = True

    def end(self) -> None:
        """What leaves a phone from now on does not count; what left it may still come back."""
        for page in self.pages.values():
            page.until_number = page.sent

    @property
    def expected(self) -> int:
        """Frames that count."""
        return sum(min(page.sent, page.until_number) - page.from_number for page in self.pages.values())

    @property
    def missing(self) -> int:
        """Those of them that have not come back."""
        return self.expected - sum(page.came for page in self.pages.values())

    def window(self) -> Window:
        """The figures of a window that has ended."""

        def ms(seconds: list[float], share: float) -> float:
            return percentile(seconds, share) * 1000 if seconds else float("inf")

        back, slips = list(self.there_and_back), list(self.slips)
        return Window(
            frames=self.expected,
            lost=self.missing,
            crossed=self.crossed + self.disordered,
            p50=ms(back, 0.5),
            p99=ms(back, 0.99),
            up_p99=ms(list(self.up), 0.99),
            slip_p99=ms(slips, 0.99),
            late=sum(slip > LATE for slip in slips) / len(slips) if slips else 0.0,
        )


@dataclass(slots=True)
class Page:
    """The frames of one call."""

    call: int
    calls: Calls
    sent: int = 0  # frames so far, which is the next one's number
    sent_at: array[float] = field(default_factory=lambda: array("d", bytes(8 * REMEMBERED)))
    came: int = 0  # those that count and came back
    last: int = -1  # number of the last that came back
    came_at: float = 0.0  # when anything of this call came last, a frame heard before as well
    from_number: int = 0  # those that count
    until_number: int = PER_CALL

    def leaves(self, now: float, due: float) -> int:
        """The next frame leaves the phone; its number."""
        number = self.sent
        self.sent_at[number % REMEMBERED] = now
        self.sent = number + 1
        if self.calls.measuring:
            self.calls.slips.append(now - due)
        return number

    def comes(self, payload: bytes, now: float) -> None:
        """Audio has come to the phone; raises ValueError where it bears no watermark."""
        call, number = divmod(int(payload[:DIGITS]), PER_CALL)
        if call != self.call:
            self.calls.crossed += 1
            return
        self.came_at = now
        if number <= self.last:
            self.calls.disordered += 1
            return
        self.last = number
        if self.calls.measuring and self.from_number <= number < self.until_number:
            self.came += 1
            self.calls.there_and_back.append(now - self.sent_at[number % REMEMBERED])
