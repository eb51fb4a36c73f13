"""One service's life: its states, what moves it from one to the next, and when to try again. Pure.

    starting ──ready──▶ ready ◀──▶ unready          a death from any of them:
       ▲                                              ──▶ restarting ──▶ (launched) ──ready──▶ ready
       └── launched                                   ──▶ failed    too many quick deaths, or a bad exit
                                                      ──▶ stopped   a person's stop, or a good exit

Times are seconds of the monotonic clock, which runs from boot for all processes alike, so that a
life can be written down and taken up by another supervisor, and a clock set back changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ops.services import Restart

State = Literal["starting", "ready", "unready", "restarting", "failed", "stopped"]

FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0


@dataclass(frozen=True)
class Life:
    """How a service stands. `quick` counts deaths in a row that came before `stable` seconds."""

    state: State = "starting"
    reason: str = ""
    restarts: int = 0
    deaths: int = 0
    quick: int = 0
    launched: float | None = None  # when its process was started; None: no process
    was_ready: bool = False  # this process has been ready
    silent_since: float | None = None
    retry_at: float | None = None


@dataclass(frozen=True)
class Rules:
    """What decides about a death: the service's restart policy, and when a start counts as good."""

    restart: Restart = "always"
    stable: float = 10.0
    most_quick_deaths: int = 5
    startup: float = 30.0  # seconds until a start that is not ready yet is said to be late


@dataclass(frozen=True)
class Answer:
    """What a probe learned: `ok`; `no` (it answered, but is not ready); `silent` (no answer at
    all); `unknown` (the question could not be asked, which says nothing about the service)."""

    kind: Literal["ok", "no", "silent", "unknown"]
    text: str = ""


def launched(life: Life, now: float) -> Life:
    """Its process has just been started."""
    again = life.deaths > 0
    return replace(
        life,
        state="restarting" if again else "starting",
        reason=life.reason if again else "",
        restarts=life.restarts + again,
        launched=now,
        was_ready=False,
        silent_since=None,
        retry_at=None,
    )


def answered(life: Life, answer: Answer, rules: Rules, now: float) -> Life:
    """A probe came back while the process lives."""
    if life.launched is None or answer.kind == "unknown":
        return life
    if answer.kind == "ok":
        return replace(life, state="ready", reason="", was_ready=True, silent_since=None)
    if life.was_ready:
        silent = answer.kind == "silent"
        since = (now if life.silent_since is None else life.silent_since) if silent else None
        return replace(life, state="unready", reason=answer.text, silent_since=since)
    if now - life.launched >= rules.startup:
        late = f"not ready after {rules.startup:g} s: {answer.text}"
        return replace(life, state="unready", reason=late)
    return replace(life, reason=answer.text)


def unresponsive(life: Life, silence: float, now: float) -> bool:
    """Whether a service that was ready has been silent for so long that only a new start can help."""
    return life.silent_since is not None and now - life.silent_since >= silence


def died(life: Life, how: str, code: int | None, rules: Rules, now: float, jitter: float) -> Life:
    """Its process ended, unasked. `code` as in `Popen.returncode`, None where nobody knows;
    `jitter` from 0 to 1 spreads the next try."""
    lived = now - life.launched if life.launched is not None else 0.0
    quick = 0 if lived >= rules.stable else life.quick + 1
    after = replace(_without_process(life), deaths=life.deaths + 1, quick=quick)
    if rules.restart == "never" or (rules.restart == "on-failure" and code == 0):
        return replace(after, state="stopped" if code == 0 else "failed", reason=how)
    if quick >= max(1, rules.most_quick_deaths):
        times = "time" if quick == 1 else "times in a row"
        return replace(
            after, state="failed", reason=f"died {quick} {times} within {rules.stable:g} s, last: {how}"
        )
    retry_at = now + delay(quick, life.was_ready, jitter)
    return replace(after, state="restarting", reason=how, retry_at=retry_at)


def delay(quick: int, was_ready: bool, jitter: float) -> float:
    """Seconds until the next try after this many quick deaths in a row: none after a stable life or
    the first death of one that had been ready, then 100 ms doubling to 30 s, each a quarter more or less."""
    if quick == 0 or (quick == 1 and was_ready):
        return 0.0
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(quick - 1, 30)) * (0.75 + jitter / 2)


def not_started(life: Life, why: str, now: float) -> Life:
    """The attempt failed for a reason outside the service (no descriptors, a held port): try again
    in a second, and do not count it as a death."""
    state: State = "restarting" if life.deaths else "starting"
    return replace(_without_process(life), state=state, reason=why, retry_at=now + 1.0)


def stopped(life: Life, reason: str = "stopped on request") -> Life:
    """A person's stop has ended it; nothing but a person's start undoes that."""
    return replace(_without_process(life), state="stopped", reason=reason, quick=0)


def _without_process(life: Life) -> Life:
    return replace(life, launched=None, silent_since=None, retry_at=None)


def probe_pause(asked: int, was_ready: bool) -> float:
    """Seconds until the next probe: while starting 10, 20, 40 ms after the launch, then every 20 ms so that
    who is ready is seen at once; half a second when that takes long, then one for as long as it lives."""
    if was_ready:
        return 1.0
    return (0.01 if asked < 2 else 0.02) if asked < 250 else 0.5
