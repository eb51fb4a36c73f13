"""The person on the phone: a script of steps, carried out one 20 ms frame at a time. Pure.

A step that times out is recorded as not done, and the person hangs up. When the script is over the
person stays until nothing has been heard for ten seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

FRAME = 160
SILENT = b"\xff" * FRAME
SPEECH_DBFS = -45.0  # a frame that is louder is speech
GAP_MS = 300  # a pause of an utterance, not its end
ONSET_FRAMES = 3  # of speech until a listener believes that somebody speaks
PATIENCE_MS = 10_000


@dataclass(frozen=True)
class Step:
    """One thing to do. Times in ms; `audio` is mu-law, for `say`."""

    do: str
    line: str = ""
    audio: bytes = b""
    digits: str = ""
    ms: int = 0
    quiet_ms: int = 400
    silent_ms: int = 0  # of hearing nothing at all, after which a listener goes on; 0: never
    timeout_ms: int = 8000


@dataclass(frozen=True)
class Done:
    """How a step went; times in ms since the call was answered, None while it has not come to it."""

    step: Step
    at_ms: int | None = None
    ended_ms: int | None = None
    done: bool | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What the person does in one frame: the sound of it, a key, hanging up."""

    sound: bytes = SILENT
    key: str = ""
    hangs_up: bool = False


QUIET = Act()
TIMES = ("ms", "quiet_ms", "silent_ms", "timeout_ms")
STAY = Step("stay", quiet_ms=PATIENCE_MS)


class BadScript(ValueError):
    """A script that cannot be carried out: which step, what was expected, what came."""


def script(steps: object, audio_of: Callable[[str], bytes]) -> tuple[Step, ...]:
    """Steps from their JSON form; `audio_of` finds a recorded line (KeyError: there is none)."""
    if not isinstance(steps, list):
        raise BadScript(f"expected steps as a list, got {type(steps).__name__}")
    return tuple(_step(index, each, audio_of) for index, each in enumerate(steps))


def _step(index: int, raw: object, audio_of: Callable[[str], bytes]) -> Step:
    if not isinstance(raw, Mapping) or raw.get("do") not in _FIELDS:
        raise BadScript(f"step {index}: expected do as one of {', '.join(_FIELDS)}, got {str(raw)[:80]}")
    do = str(raw["do"])
    if unknown := set(raw) - {"do"} - _FIELDS[do]:
        raise BadScript(
            f"step {index} ({do}): expected {', '.join(sorted(_FIELDS[do]))}, got {sorted(unknown)}"
        )
    for name in TIMES:
        value = raw.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 3_600_000:
            raise BadScript(f"step {index} ({do}): expected {name} as milliseconds, got {value!r}")
    step = Step(do, **{name: raw[name] for name in TIMES if name in raw})
    if do == "say":
        return _said(index, step, raw, audio_of)
    if do == "press":
        digits = str(raw.get("digits", ""))
        if not digits or set(digits) - set("0123456789*#ABCDw"):
            raise BadScript(f"step {index} (press): expected digits 0-9 * # A-D w, got {digits[:40]!r}")
        return replace(step, digits=digits)
    return step


def _said(index: int, step: Step, raw: Mapping[str, Any], audio_of: Callable[[str], bytes]) -> Step:
    if "audio" in raw:
        try:
            return replace(step, line="", audio=base64.b64decode(raw["audio"], validate=True))
        except (ValueError, TypeError):
            raise BadScript(f"step {index} (say): expected audio as base64 of mu-law") from None
    try:
        return replace(step, line=str(raw["line"]), audio=audio_of(str(raw["line"])))
    except KeyError as problem:
        raise BadScript(f"step {index} (say): expected the name of a line: {problem.args[0]}") from None


_FIELDS: dict[str, set[str]] = {
    "say": {"line", "audio"},
    "listen": {"quiet_ms", "silent_ms", "timeout_ms"},
    "stream": {"timeout_ms"},
    "hear": {"ms", "timeout_ms"},
    "press": {"digits"},
    "pause": {"ms"},
    "stay": {"quiet_ms"},
    "hang-up": set(),
}


class Ear:
    """Whether somebody speaks, from the level of each frame heard."""

    def __init__(self) -> None:
        self.frames = 0  # frames of speech so far
        self.onset_ms: int | None = None  # when the utterance that is heard began
        self.last_ms: int | None = None  # when the last frame of speech ended
        self._run = 0

    def hear(self, at_ms: int, dbfs: float) -> None:
        """One more frame, which ended at `at_ms`."""
        if dbfs <= SPEECH_DBFS:
            self._run = 0
            if self.onset_ms is not None and self.last_ms is not None and at_ms - self.last_ms > GAP_MS:
                self.onset_ms = None
            return
        self.frames += 1
        self._run += 1
        self.last_ms = at_ms
        if self.onset_ms is None and self._run >= ONSET_FRAMES:
            self.onset_ms = at_ms - ONSET_FRAMES * 20

    @property
    def speaking(self) -> bool:
        return self.onset_ms is not None


class Caller:
    """Carries a script out: for each frame heard, what the person does in the next one."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.ear = Ear()
        self.report = [Done(step) for step in steps]
        self._index = -1
        self._begun = 0  # when the current step began
        self._heard_before = 0  # frames of speech when it began
        self._said = 0  # bytes of the current line that are spoken
        self._keys = ""
        self._next_key_ms = 0
        self.gone = False
        self.streaming = False  # a two-way media stream has been opened: whoever answers can hear
        self._next(0)

    @property
    def step(self) -> Step:
        """What the person is doing."""
        return self.report[self._index].step if self._index < len(self.report) else STAY

    def tick(self, at_ms: int, dbfs: float) -> Act:
        """The frame heard until `at_ms` had that level; what the person does in the next 20 ms."""
        self.ear.hear(at_ms, dbfs)
        for _ in range(len(self.report) + 1):  # a step that is over lets the next one begin at once
            if self.gone:
                break
            act = self._do(self.step, at_ms)
            if act is not None:
                return act
        return QUIET

    def _do(self, step: Step, at_ms: int) -> Act | None:
        """What the step does now; None when it has just ended."""
        waited = at_ms - self._begun
        if step.do == "say":
            frame = step.audio[self._said : self._said + FRAME]
            self._said += FRAME
            if frame:
                return Act(frame.ljust(FRAME, b"\xff"))
            self._end(at_ms)
            return None
        if step.do == "press":
            return self._press(at_ms)
        if step.do == "pause":
            if waited < step.ms:
                return QUIET
            self._end(at_ms)
            return None
        if step.do == "hang-up":
            self._end(at_ms)
            return self._leave()
        if step.do == "stay":
            last = max(self._begun, self.ear.last_ms or 0)
            return QUIET if at_ms - last < step.quiet_ms else self._leave()
        if self._satisfied(step, at_ms):
            self._end(at_ms)
            return None
        if waited >= step.timeout_ms:
            self._end(at_ms, done=False)
            return self._leave()
        return QUIET

    def _satisfied(self, step: Step, at_ms: int) -> bool:
        if step.do == "stream":
            return self.streaming
        if step.do == "hear":
            return self.ear.onset_ms is not None and at_ms - self.ear.onset_ms >= step.ms
        heard = self.ear.frames - self._heard_before >= ONSET_FRAMES
        if step.silent_ms and not heard:
            return at_ms - max(self._begun, self.ear.last_ms or 0) >= step.silent_ms
        return heard and at_ms - (self.ear.last_ms or 0) >= step.quiet_ms

    def _press(self, at_ms: int) -> Act | None:
        if at_ms < self._next_key_ms:
            return QUIET
        if not self._keys:
            self._end(at_ms)
            return None
        key, self._keys = self._keys[0], self._keys[1:]
        self._next_key_ms = at_ms + (500 if key == "w" else 160)
        return QUIET if key == "w" else Act(key=key)

    def _leave(self) -> Act:
        self.gone = True
        return Act(hangs_up=True)

    def _end(self, at_ms: int, done: bool = True) -> None:
        if self._index < len(self.report):
            self.report[self._index] = replace(self.report[self._index], ended_ms=at_ms, done=done)
        self._next(at_ms)

    def _next(self, at_ms: int) -> None:
        self._index += 1
        self._begun, self._heard_before = at_ms, self.ear.frames
        if self._index < len(self.report):
            self.report[self._index] = replace(self.report[self._index], at_ms=at_ms)
        self._said, self._keys, self._next_key_ms = 0, self.step.digits, at_ms
