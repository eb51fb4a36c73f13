"""Whatever the server sends is read: mutated frames and documents by the thousand."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

import pytest

from ops.vendors.twilio.simulator import grammar, messages
from ops.vendors.twilio.simulator.errors import TITLES
from ops.vendors.twilio.simulator.markup import BadTwiml
from ops.vendors.twilio.simulator.playout import FRAME, LIMIT, PlayOut

SID = "MZ" + "1" * 32
SHARE, ALL = 20_000, 1_000_000
DOCUMENTS = 5000
TWIML = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Say loop="2">Hello</Say><Pause length="1"/>'
    '<Gather numDigits="1" timeout="3" action="/digits"><Play>/a.wav</Play></Gather>'
    '<Dial timeout="9" callerId="+12025550100"><Number>+12025550199</Number></Dial>'
    '<Connect action="/next"><Stream url="wss://example.com/call"><Parameter name="a" value="b"/></Stream>'
    '</Connect><Redirect method="GET">/again</Redirect><Reject reason="busy"/><Hangup/></Response>'
)
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
    """A valid message that is one no longer, or hardly."""
    return spoiled(valid(chance, sid), chance)


def spoiled(text: str, chance: random.Random) -> str:
    """A text with something cut, doubled, replaced or put in."""
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


@pytest.mark.timeout(1800)
def test_mutated_frames_are_read_and_played(request: pytest.FixtureRequest) -> None:
    """20,000 of them, a million with --long: each is accepted or wrong with a reason; the play-out clock
    stays whole, every mark comes back once."""
    total = ALL if request.config.getoption("--long") else SHARE
    for seed in range(total // 1000):
        swallow(seed, 1000)


def test_mutated_documents_are_run_or_refused() -> None:
    """TwiML with something cut, doubled, replaced or put in: verbs, or Twilio's number and a place."""
    chance = random.Random(3)
    refused: list[BadTwiml] = []
    for _ in range(DOCUMENTS):
        try:
            grammar.parse(spoiled(TWIML, chance).encode("utf-8", "replace"))
        except BadTwiml as bad:
            refused.append(bad)
    assert {bad.notice.code for bad in refused} <= set(TITLES)
    assert all(min(bad.line, bad.column) >= 1 for bad in refused)
    assert 0.1 * DOCUMENTS < len(refused) < 0.95 * DOCUMENTS  # neither all valid nor all nonsense


def swallow(seed: int, count: int) -> None:
    playout, now, sent, returned = PlayOut(), 0, 0, 0
    if seed % 4 == 0:
        playout.media(bytes(LIMIT + 8000), now)  # what comes in the next second is too much
    for number, text in enumerate(frames(seed, count, SID)):
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
        now += (
            900 if number % 7 == 0 else 37
        )  # now and then what was queued has been played, and nobody speaks
        returned += len(playout.due(now))
    assert returned + len(playout.due(10**12)) == sent
