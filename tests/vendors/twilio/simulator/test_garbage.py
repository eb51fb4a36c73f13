"""Whatever the server sends is read: mutated frames by the thousand."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.vendors.twilio.simulator import messages
from ops.vendors.twilio.simulator.playout import FRAME, PlayOut

SID = "MZ" + "1" * 32
SHARE, ALL = 20_000, 1_000_000
ODD = ('"\\ud800"', "1e999", "NaN", "-0", "null", "[]", "{}", '""', "[[[[[[", '"\\u0000"', "true", "9" * 400)


def valid(chance: random.Random, sid: str) -> str:
    audio = base64.b64encode(chance.randbytes(chance.randrange(400))).decode()
    return json.dumps(
        chance.choice(
            (
                {"event": "media", "streamSid": sid, "media": {"payload": audio}},
                {"event": "mark", "streamSid": sid, "mark": {"name": f"m{chance.randrange(9)}"}},
                {"event": "clear", "streamSid": sid},
            )
        )
    )


def mutated(chance: random.Random, sid: str) -> str:
    """A valid message with something cut, doubled, replaced or put in."""
    text = valid(chance, sid)
    for _ in range(chance.randrange(1, 4)):
        begin = chance.randrange(len(text) + 1)
        end = min(len(text), begin + chance.randrange(12))
        put = chance.choice(("", text[begin:end] * 2, chance.choice(ODD), chr(chance.randrange(0xD7FF))))
        text = text[:begin] + put + text[end:]
    return text


def frames(seed: int, count: int, sid: str) -> Iterator[str]:
    """Messages of which at least six in ten are mutated valid ones."""
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.random()
        if kind < 0.6:
            yield mutated(chance, sid)
        elif kind < 0.8:
            yield valid(chance, sid)
        else:
            yield "".join(chr(chance.randrange(1, 0x500)) for _ in range(chance.randrange(60)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_twenty_thousand_frames_are_read_and_played(seed: int) -> None:
    """Each is accepted or wrong with a reason; the play-out clock stays whole, every mark comes back once."""
    swallow(seed, SHARE // 20)


def test_a_million_frames(request: pytest.FixtureRequest) -> None:
    """The long form of the same, with --long."""
    if not request.config.getoption("--long"):
        pytest.skip("only with --long")
    for seed in range(ALL // 10_000):
        swallow(seed, 10_000)


def swallow(seed: int, count: int) -> None:
    playout, now, sent, returned = PlayOut(), 0, 0, 0
    for text in frames(seed, count, SID):
        message = messages.read(text, SID)
        if isinstance(message, messages.Wrong):
            assert message.reason
        elif isinstance(message, messages.Media):
            playout.media(message.audio, now)
        elif isinstance(message, messages.Mark):
            playout.mark(message.name, now)
            sent += 1
        else:
            returned += len(playout.clear(now))
        if now % 3 == 0:
            assert len(playout.frame()) == FRAME
        now += 37
        returned += len(playout.due(now))
    assert returned + len(playout.due(10**12)) == sent
