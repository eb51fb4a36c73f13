"""TwiML: text to verbs, and faults with their places."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect as SdkConnect
from twilio.twiml.voice_response import Dial, Gather, VoiceResponse

from ops.vendors.twilio.simulator import grammar, twiml
from ops.vendors.twilio.simulator.markup import BadTwiml


def verbs(inside: str) -> tuple[twiml.Verb, ...]:
    document = grammar.parse(f"<Response>{inside}</Response>".encode())
    assert not document.warnings
    return document.verbs


def test_a_connect_stream_with_parameters() -> None:
    """The one document that every voice agent sends."""
    (connect,) = verbs(
        '<Connect><Stream url="wss://example.com/call"><Parameter name="ticket" value="x"/></Stream></Connect>'
    )
    assert connect == twiml.Connect(twiml.Stream("wss://example.com/call", parameters=(("ticket", "x"),)))


def test_what_the_official_sdk_writes_is_read_without_a_warning() -> None:
    """Documents made by twilio-python's builder come out verb by verb."""
    response = VoiceResponse()
    response.say("Hello", voice="alice", language="en-US")
    response.play("https://example.com/a.wav", loop=2)
    response.pause(length=3)
    gather = Gather(num_digits=2, action="/digits", method="GET", timeout=4, finish_on_key="*")
    gather.say("Press two keys")
    response.append(gather)
    dial = Dial(caller_id="+12025550100", timeout=9, action="/after")
    dial.number("+12025550199", status_callback="/s", status_callback_event="initiated ringing")
    response.append(dial)
    connect = SdkConnect(action="/next")
    stream = connect.stream(url="wss://example.com/call", name="n", status_callback="/ss")
    stream.parameter(name="a", value="b")
    response.append(connect)
    response.redirect("/again", method="GET")
    response.reject(reason="busy")
    response.hangup()
    document = grammar.parse(str(response).encode())
    assert not document.warnings
    assert document.verbs == (
        twiml.Say("Hello"),
        twiml.Play("https://example.com/a.wav", 2),
        twiml.Pause(3),
        twiml.Gather((twiml.Say("Press two keys"),), "/digits", "GET", 4, 2, "*"),
        twiml.Dial(
            "+12025550199", "+12025550100", 9, action="/after",
            status_callback="/s", status_events=("initiated", "ringing"),
        ),
        twiml.Connect(
            twiml.Stream("wss://example.com/call", "n", parameters=(("a", "b"),), status_callback="/ss"), "/next"
        ),
        twiml.Redirect("/again", "GET"),
        twiml.Reject("busy"),
        twiml.Hangup(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("<Response>\n  <Say>one & two</Say>\n</Response>", 12100, 2, 13),
        ("<Response>\n<Say>open", 12100, 2, 10),
        ("<html><body/></html>", 12100, 1, 1),
        ("\n<?xml version='1.0'?><Response/>", 12100, 2, 1),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><Response/>", 12100, 1, 13),
        ("not XML at all", 12100, 1, 1),
        ("   ", 11770, 1, 1),
        ("<Response>" + " " * 65_536 + "</Response>", 11750, 1, 1),
    ],
)
def test_a_document_that_cannot_run_says_where(text: str, code: int, line: int, column: int) -> None:
    """Parse failures carry Twilio's number, and the line and column of the fault."""
    with pytest.raises(BadTwiml) as caught:
        grammar.parse(text.encode())
    assert (caught.value.notice.code, caught.value.line, caught.value.column) == (code, line, column)
    assert f"line {line}, column {column}" in caught.value.notice.message


@pytest.mark.parametrize(
    ("inside", "code", "left"),
    [
        ("<say>lower case</say><Hangup/>", 12200, 1),
        ('<Say voise="x">typo</Say>', 12200, 1),
        ("<Stream url='wss://x'/>", 12200, 0),
        ("<Say/>", 13520, 0),
        ('<Say loop="-1">x</Say>', 13510, 1),
        ('<Pause length="long"/>', 13610, 1),
        ('<Gather numDigits="0"/>', 13314, 1),
        ('<Gather timeout="x"/>', 13313, 1),
        ('<Gather finishOnKey="ab"/>', 13310, 1),
        ("<Gather><Hangup/></Gather>", 13320, 1),
        ('<Redirect method="PUT">/x</Redirect>', 13710, 1),
        ("<Dial>hello</Dial>", 13223, 0),
        ("<Dial><Sip>sip:x@example.com</Sip></Dial>", 13215, 0),
        ("<Connect/>", 12200, 0),
        ("<Connect><Stream/></Connect>", 12200, 0),
    ],
)
def test_what_twilio_only_warns_of_leaves_the_rest_running(inside: str, code: int, left: int) -> None:
    """Schema faults are warnings with a place; the other verbs stay."""
    document = grammar.parse(f"<Response>\n {inside}</Response>".encode())
    assert code in [notice.code for notice in document.warnings]
    assert "line 2, column" in document.warnings[0].message
    assert all(notice.level == "warning" for notice in document.warnings if notice.code != 13223)
    assert len(document.verbs) == left


def test_verbs_that_are_not_simulated_are_named() -> None:
    """Twilio's other verbs are known, and passed over by name."""
    assert verbs("<Record/><Hangup/>") == (twiml.NotSimulated("Record"), twiml.Hangup())


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="<>/Responsay='\"&; \n", max_size=80).map(str.encode))
def test_any_bytes_are_a_document_or_a_fault(anything: bytes) -> None:
    """Garbage never raises anything else than BadTwiml."""
    with contextlib.suppress(BadTwiml):
        assert grammar.parse(anything).verbs == ()
