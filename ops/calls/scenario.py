"""Scenario: what the caller says and does in a test call, and what must happen by when. Pure data.

A user's own scenario is a JSON or TOML document with the same words:

    name = "closing time"
    steps = [
        {do = "listen"},
        {do = "say", line = "caller-hours"},
        {do = "listen"},
        {do = "hang-up"},
    ]
    expect = {turns = 1, barge_ins = 0, seconds = 20}
    hops = [{hop = "agent.first-audio", within_ms = 2000, after = "stream.started"}]   # optional
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ops.errors import OpsError
from ops.journal.hops import Hop

Step = Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """One hop that must happen at most `within_ms` milliseconds after another one.

    It cannot happen without `after`, nor without the hop in `needs`: where one of these is missing,
    this one's absence is a consequence and no cause.
    """

    hop: Hop
    within_ms: int
    after: Hop
    needs: Hop | None = None


@dataclass(frozen=True)
class Scenario:
    """The caller's script in the phone's wire form, the hops it must cause, and how many turns.

    `seconds` is how long the conversation may last at most, from the media stream's start.
    """

    name: str
    steps: tuple[Step, ...]
    hops: tuple[Expected, ...]
    turns: int
    barge_ins: int
    seconds: float


# A phone may ring for half a minute before somebody answers; only then does the webhook come.
THROUGH = (
    Expected(Hop.WEBHOOK, 40_000, Hop.PLACED),
    Expected(Hop.TWIML, 2_000, Hop.WEBHOOK),
    Expected(Hop.UPGRADED, 3_000, Hop.TWIML),
    Expected(Hop.STARTED, 2_000, Hop.UPGRADED),
    Expected(Hop.MODEL_CONNECTED, 4_000, Hop.STARTED),
    Expected(Hop.MODEL_READY, 3_000, Hop.MODEL_CONNECTED),
    Expected(Hop.FIRST_AUDIO, 3_000, Hop.STARTED),
    Expected(Hop.AGENT_SPEAKS, 1_000, Hop.FIRST_AUDIO),
    Expected(Hop.AGENT_SILENT, 60_000, Hop.AGENT_SPEAKS),
)
CONVERSATION = (
    Expected(Hop.CALLER_SPEAKS, 15_000, Hop.FIRST_AUDIO),
    Expected(Hop.CALLER_SILENT, 15_000, Hop.CALLER_SPEAKS),
    Expected(Hop.ANSWERED, 3_000, Hop.CALLER_SILENT),
)
BARGE_IN = (
    Expected(Hop.CLEARED, 1_000, Hop.CALLER_SPEAKS, needs=Hop.ANSWERED),
    Expected(Hop.TRUNCATED, 1_000, Hop.CLEARED),
)
GOODBYE = (
    Expected(Hop.STOPPED, 120_000, Hop.STARTED),
    Expected(Hop.MODEL_CLOSED, 10_000, Hop.STOPPED),
    Expected(Hop.ENDED, 10_000, Hop.STOPPED),
)

REPAIR_SHOP = Scenario(
    name="repair-shop",
    steps=(
        {"do": "listen", "quiet_ms": 400, "timeout_ms": 8000},
        {"do": "say", "line": "caller-hours"},
        {"do": "listen", "quiet_ms": 400, "timeout_ms": 8000},
        {"do": "say", "line": "caller-price"},
        {"do": "hear", "ms": 1000, "timeout_ms": 8000},
        {"do": "say", "line": "caller-book"},
        {"do": "listen", "quiet_ms": 400, "timeout_ms": 8000},
        {"do": "hang-up"},
    ),
    hops=(*THROUGH, *CONVERSATION, *BARGE_IN, *GOODBYE),
    turns=3,
    barge_ins=1,
    seconds=40,
)
# What the phone alone can tell of a call to somebody else's agent, which may greet or wait to be asked.
HEARD = (
    Expected(Hop.WEBHOOK, 5_000, Hop.PLACED),
    Expected(Hop.TWIML, 15_000, Hop.WEBHOOK),
    Expected(Hop.UPGRADED, 60_000, Hop.TWIML),
    Expected(Hop.STARTED, 2_000, Hop.UPGRADED),
)
HEARD_MODEL = (
    Expected(Hop.MODEL_CONNECTED, 5_000, Hop.STARTED),
    Expected(Hop.MODEL_READY, 5_000, Hop.MODEL_CONNECTED),
)
HEARD_AGENT = (
    Expected(Hop.FIRST_AUDIO, 30_000, Hop.STARTED),
    Expected(Hop.AGENT_SPEAKS, 3_000, Hop.FIRST_AUDIO),
    Expected(Hop.AGENT_SILENT, 60_000, Hop.AGENT_SPEAKS),
)
HEARD_TURNS = (
    Expected(Hop.CALLER_SPEAKS, 30_000, Hop.STARTED),
    Expected(Hop.CALLER_SILENT, 15_000, Hop.CALLER_SPEAKS),
    Expected(Hop.ANSWERED, 8_000, Hop.CALLER_SILENT),
)
HEARD_BARGE_IN = (Expected(Hop.CLEARED, 2_000, Hop.CALLER_SPEAKS, needs=Hop.ANSWERED),)
HEARD_GOODBYE = (
    Expected(Hop.STOPPED, 300_000, Hop.STARTED),
    Expected(Hop.ENDED, 10_000, Hop.STOPPED),
)

ANY_AGENT = Scenario(
    name="any-agent",
    steps=(
        {"do": "stream", "timeout_ms": 45_000},
        {"do": "listen", "quiet_ms": 600, "silent_ms": 2500, "timeout_ms": 20_000},
        {"do": "say", "line": "caller-hours"},
        {"do": "listen", "quiet_ms": 600, "timeout_ms": 15_000},
        {"do": "say", "line": "caller-price"},
        {"do": "hear", "ms": 1000, "timeout_ms": 15_000},
        {"do": "say", "line": "caller-book"},
        {"do": "listen", "quiet_ms": 600, "timeout_ms": 15_000},
        {"do": "hang-up"},
    ),
    hops=(*HEARD, *HEARD_AGENT, *HEARD_TURNS, *HEARD_BARGE_IN, *HEARD_GOODBYE),
    turns=3,
    barge_ins=1,
    seconds=90,
)
BUILT_IN: Mapping[str, Scenario] = {one.name: one for one in (REPAIR_SHOP, ANY_AGENT)}

_STEPS: Mapping[str, Mapping[str, type]] = {
    "say": {"line": str},
    "listen": {},
    "stream": {},
    "hear": {"ms": int},
    "press": {"digits": str},
    "pause": {"ms": int},
    "hang-up": {},
}
_OPTIONAL: Mapping[str, type] = {"quiet_ms": int, "silent_ms": int, "timeout_ms": int}


def parse(name: str, text: str) -> Scenario:
    """The scenario in a file's text; TOML when the name ends in .toml, else JSON.

    Raises OpsError that names the place, what was expected there and what came.
    """
    try:
        document = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
    except ValueError as problem:
        raise _bad(name, f"cannot be read: {problem}") from None
    if not isinstance(document, dict):
        raise _bad(name, "is not an object with steps")
    steps = document.get("steps")
    if not isinstance(steps, list) or not steps:
        raise _bad(name, "has no list of steps")
    expect = document.get("expect", {})
    if not isinstance(expect, dict):
        raise _bad(name, "has an `expect` that is not an object")
    said = sum(isinstance(step, dict) and step.get("do") == "say" for step in steps)
    turns = _number(name, expect, "turns", said)
    barge_ins = _number(name, expect, "barge_ins", 0)
    hops = document.get("hops")
    if hops is not None and not isinstance(hops, list):
        raise _bad(name, "has `hops` that are not a list")
    return Scenario(
        name=str(document.get("name", name)),
        steps=tuple(_step(name, index, step) for index, step in enumerate(steps)),
        hops=_usual(turns, barge_ins) if hops is None else tuple(_hop(name, hop) for hop in hops),
        turns=turns,
        barge_ins=barge_ins,
        seconds=_number(name, expect, "seconds", 60),
    )


def from_the_phone(scenario: Scenario, *, model: bool = False) -> Scenario:
    """The same scenario with the hops that the phone can tell of, whoever's agent it talks to; with those
    of the model where its stand-in was asked, too."""
    talk = (*HEARD_TURNS, *(HEARD_BARGE_IN if scenario.barge_ins else ())) if scenario.turns else ()
    hops = (*HEARD, *(HEARD_MODEL if model else ()), *HEARD_AGENT, *talk, *HEARD_GOODBYE)
    return replace(scenario, hops=hops)


def _usual(turns: int, barge_ins: int) -> tuple[Expected, ...]:
    return (*THROUGH, *(CONVERSATION if turns else ()), *(BARGE_IN if barge_ins else ()), *GOODBYE)


def _step(name: str, index: int, step: object) -> Step:
    where = f"step {index + 1}"
    if not isinstance(step, dict) or step.get("do") not in _STEPS:
        raise _bad(name, f"{where}: expected `do` to be one of {', '.join(_STEPS)}, got {step!r:.80}")
    wanted = _STEPS[step["do"]]
    if lacking := [key for key in wanted if key not in step]:
        raise _bad(name, f"{where} ({step['do']}) has no `{lacking[0]}`")
    for key, value in step.items():
        kind = wanted.get(key) or _OPTIONAL.get(key)
        if key != "do" and (kind is None or type(value) is not kind or value in ("", 0)):
            expected = f"a {'whole number' if kind is int else 'text'}" if kind else "no such key"
            raise _bad(name, f"{where} ({step['do']}): expected {expected} for `{key}`, got {value!r:.80}")
        if isinstance(value, int) and not 0 < value <= 600_000:
            raise _bad(name, f"{where} ({step['do']}): expected 1 to 600000 ms for `{key}`, got {value}")
    return dict(step)


def _hop(name: str, row: object) -> Expected:
    try:
        if not isinstance(row, dict):
            raise ValueError(f"{row!r:.80} is not an object")
        return Expected(Hop(row["hop"]), int(row["within_ms"]), Hop(row.get("after", Hop.STARTED)))
    except (ValueError, KeyError, TypeError) as problem:
        raise _bad(name, f"a hop needs `hop`, `within_ms` and perhaps `after`, but: {problem}") from None


def _number(name: str, table: Mapping[str, Any], key: str, default: int) -> int:
    value = table.get(key, default)
    if type(value) is not int or not 0 <= value <= 3600:
        raise _bad(name, f"expected a whole number from 0 to 3600 for expect.{key}, got {value!r:.80}")
    return value


def _bad(name: str, what: str) -> OpsError:
    return OpsError(
        f"The scenario {name} {what}.", fix=f"correct {name}; its words are in ops/calls/scenario.py"
    )


def load(name: str, read: Callable[[str], str]) -> Scenario:
    """The built-in scenario of that name, or the one in that file; `read` gives a file's text."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not name.endswith((".json", ".toml")):
        raise OpsError(
            f"There is no scenario {name}; built in: {', '.join(BUILT_IN)}.",
            fix="name one of these, or a .json or .toml file",
        )
    try:
        return parse(name, read(name))
    except (OSError, UnicodeDecodeError) as problem:
        raise _bad(name, f"cannot be read: {problem}") from None
