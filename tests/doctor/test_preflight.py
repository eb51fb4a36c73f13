"""The whole line without a phone: an answer is heard, or the hop that failed is named."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ops.doctor import preflight
from ops.doctor.preflight import Phone
from ops.speech import library
from ops.world import World
from tests.standin import StandIn


def _world(standin: StandIn, root: Path) -> World:
    return World.of(standin.settings(root), today=date(2026, 11, 23))


def test_speech_goes_in_and_an_answer_comes_out(root: Path) -> None:
    """Greeting, words, answer: the hops are timed, marks come back, and the answer's level is told."""
    voice = library.line("agent-hours").audio
    with StandIn(greeting=voice[:1600], answer=voice).up() as standin:
        found = preflight.line(_world(standin, root))
    assert found.status == "ok"
    assert list(found.evidence["hops_ms"]) == [
        "webhook", "twiml", "upgrade", "start", "greeting", "speech", "answer",
    ]  # fmt: skip
    assert 150 < found.evidence["latency_ms"] < 15_000
    assert found.evidence["answer_dbfs"] > -40
    assert standin.asked.count("WS mark") >= 1
    assert standin.asked[-1] == "WS stop"


@pytest.mark.usefixtures("hurried")
def test_a_bridge_that_never_answers_is_named(root: Path) -> None:
    """Everything opens, but no words come: the answer's hop is named."""
    with StandIn().up() as standin:
        found = preflight.line(_world(standin, root))
    assert (found.status, found.evidence["hop"]) == ("fail", "answer")


@pytest.mark.usefixtures("hurried")
def test_an_answer_of_silence_is_none(root: Path) -> None:
    """Frames that hold nothing audible do not count as an answer."""
    with StandIn(answer=b"\xff" * 4000).up() as standin:
        found = preflight.line(_world(standin, root))
    assert found.status == "fail"
    assert "silence" in found.summary


@pytest.mark.usefixtures("hurried")
def test_the_bridges_own_filler_is_no_answer(root: Path) -> None:
    """A recorded sentence that fills the silence does not hide that the model says nothing."""
    with StandIn(answer=library.line("agent-moment").audio).up() as standin:
        found = preflight.line(_world(standin, root))
    assert (found.status, found.evidence["hop"]) == ("fail", "answer")
    assert "recorded sentence" in found.summary


def test_what_the_bridge_says_instead_is_told_apart() -> None:
    """Fillers are counted out, one after the other; the model's own lines are not."""
    moment, apology, hours = (library.line(f"agent-{name}").audio for name in ("moment", "apology", "hours"))
    assert preflight.said_instead(moment + apology + hours) == len(moment) + len(apology)
    assert preflight.said_instead(hours + moment) == 0
    assert preflight.said_instead(b"") == 0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For lines that do not answer: frames at five times the pace, and less patience."""
    monkeypatch.setattr(preflight, "TICK", 0.004)
    monkeypatch.setattr(preflight, "ANSWER_WITHIN", 0.5)
    monkeypatch.setattr(preflight, "GREETING_WITHIN", 0.1)


@pytest.mark.parametrize(
    ("broken", "hop"),
    [
        ({"refuse_start": True}, "stream"),
        ({"stream_url": "ws://127.0.0.1:1/call"}, "way in"),
        ({"twiml": "<Response/>"}, "TwiML"),
        ({"origin": "https://elsewhere.test"}, "webhook"),
    ],
    ids=str,
)
def test_the_hop_that_fails_is_named(broken: dict[str, object], hop: str, root: Path) -> None:
    """A line that breaks earlier says where."""
    with StandIn(**broken).up() as standin:  # type: ignore[arg-type]
        found = preflight.line(_world(standin, root))
    assert (found.status, found.evidence["hop"]) == ("fail", hop)
    assert found.fix


def test_the_phone_keeps_a_true_play_out_clock() -> None:
    """A mark comes back when the audio before it has been played; `clear` brings it back at once."""
    phone = Phone("MZ1")
    media = '{"event":"media","streamSid":"MZ1","media":{"payload":"' + "////" * 267 + '"}}'  # 801 bytes
    phone.receive(media, 10.0)
    phone.receive('{"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}', 10.0)
    assert phone.speaks(10.09)
    assert list(phone.returned(10.09)) == []
    assert list(phone.returned(10.11)) == ["a"]
    phone.receive(media, 20.0)
    phone.receive('{"event":"mark","streamSid":"MZ1","mark":{"name":"b"}}', 20.0)
    phone.receive('{"event":"clear","streamSid":"MZ1"}', 20.01)
    assert list(phone.returned(20.01)) == ["b"]
    assert not phone.speaks(20.02)


@pytest.mark.parametrize("text", ["{", "[]", '{"event":"mark","streamSid":"MZ1","mark":{}}', '{"event":"x"}'])
def test_messages_that_twilio_would_refuse_are_counted(text: str) -> None:
    """Garbage, a nameless mark, an unknown event: noted, never an exception."""
    phone = Phone("MZ1")
    phone.receive(text, 1.0)
    assert len(phone.faults) == 1
