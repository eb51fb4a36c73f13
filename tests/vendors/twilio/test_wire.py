"""Our side of Twilio's media streams, TwiML and signatures."""

from __future__ import annotations

import json
import secrets
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from ops.vendors.twilio import wire

START = {
    "event": "start", "sequenceNumber": "1", "streamSid": "MZ1",
    "start": {"accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
              "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
              "customParameters": {"ticket": "t"}},
}  # fmt: skip


def test_messages_become_values() -> None:
    """The documented messages decode to what the session understands."""
    cases: list[tuple[dict[str, Any], wire.Message]] = [
        ({"event": "connected", "protocol": "Call", "version": "1.0.0"}, wire.Connected()),
        (START, wire.Start("MZ1", "CA1", "AC1", "audio/x-mulaw", 8000, {"ticket": "t"})),
        (
            {"event": "media", "sequenceNumber": "4", "streamSid": "MZ1",
             "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": "//8="}},
            wire.Media("//8=", 20),
        ),
        ({"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}, wire.Mark("m")),
        ({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": "#"}}, wire.Dtmf("#")),
        ({"event": "stop", "streamSid": "MZ1", "stop": {"accountSid": "AC1", "callSid": "CA1"}}, wire.Stop()),
    ]  # fmt: skip
    for message, expected in cases:
        assert wire.decode(json.dumps(message)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"event":[]}', '{"event":"unknown"}', '{"event":"start"}', '{"event":"mark","mark":{}}',
     '{"event":"media","media":{"payload":"é","timestamp":"1"}}', '{"event":"media","media":{"payload":1}}',
     json.dumps(START).replace('"t"', "7"), "[" * 100_000, '{"event":"mark","x":' + '{"x":' * 100_000, '{"event":"media","media":{"payload":"\\ud800"}}', b"\xff"],
)  # fmt: skip
def test_garbage_is_a_value(text: str | bytes) -> None:
    """Nothing malformed raises."""
    assert isinstance(wire.decode(text), wire.Garbage)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_no_json_raises(value: Any) -> None:
    """Whatever a known message carries, decoding gives a value."""
    for kind in ("connected", "start", "media", "mark", "dtmf", "stop"):
        wire.decode(json.dumps({"event": kind, kind: value}))


def test_what_we_send_is_documented() -> None:
    """media, mark and clear as Twilio's page has them: streamSid on top, a name in every mark."""
    assert json.loads(wire.media("MZ1", "AA==")) == {
        "event": "media", "streamSid": "MZ1", "media": {"payload": "AA=="},
    }  # fmt: skip
    assert json.loads(wire.mark("MZ1", "0:20")) == {
        "event": "mark", "streamSid": "MZ1", "mark": {"name": "0:20"},
    }  # fmt: skip
    assert json.loads(wire.clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}


def test_twiml_carries_values_as_parameters_and_escapes_them() -> None:
    """No query string in the stream's URL; hostile values stay values."""
    hostile = '"/><Dial>911</Dial>'
    root = ElementTree.fromstring(wire.connect_stream("wss://a.example/call", {"ticket": hostile}))
    assert [element.tag for element in root.iter()] == ["Response", "Connect", "Stream", "Parameter"]
    assert root.find(".//Stream").attrib["url"] == "wss://a.example/call"  # type: ignore[union-attr]
    assert root.find(".//Parameter").attrib == {"name": "ticket", "value": hostile}  # type: ignore[union-attr]


def test_what_is_said_and_dialled_stays_text() -> None:
    """A number or a sentence that would write TwiML of its own changes nothing of it."""
    hostile = "</Dial></Say><Dial>911</Dial>"
    for twiml, tags in (
        (wire.dial(hostile, hostile), ["Response", "Dial", "Say"]),  # whoever is not reached is told so
        (wire.say_and_hang_up(hostile), ["Response", "Say", "Hangup"]),
    ):
        root = ElementTree.fromstring(twiml)
        assert [element.tag for element in root.iter()] == tags
        assert root[0].text == hostile


def test_signatures_are_those_of_the_vendors_own_validator() -> None:
    """What we sign the official validator accepts, and the other way round."""
    token, url = secrets.token_hex(16), "https://a.example/twiml?record=1"
    form = {"CallSid": "CA1", "From": "+12025550142", "Empty": ""}
    assert RequestValidator(token).validate(url, form, wire.sign(token, url, form))
    assert wire.signed(token, [url], form, [RequestValidator(token).compute_signature(url, form)])


def test_only_one_right_signature_is_accepted() -> None:
    """None, two, empty, of another token, URL or form: refused."""
    token, url, form = secrets.token_hex(16), "https://a.example/twiml", {"CallSid": "CA1"}
    right = wire.sign(token, url, form)
    assert wire.signed(token, [url], form, [right])
    for came in ([], [""], [right, right], [right + "="], ["é"], [wire.sign(secrets.token_hex(16), url, form)],
                 [wire.sign(token, url + "/", form)], [wire.sign(token, url, {})]):  # fmt: skip
        assert not wire.signed(token, [url], form, came)


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("https://a.example/x", {"https://a.example/x", "https://a.example:443/x"}),
        ("wss://a.example:443/call", {"wss://a.example/call", "wss://a.example:443/call"}),
        ("http://127.0.0.1:8103/x", {"http://127.0.0.1:8103/x"}),
    ],
)
def test_the_default_port_may_be_written_or_not(url: str, spelled: set[str]) -> None:
    """Twilio signs the URL with or without its default port; both spellings are known, no others."""
    assert set(wire.spellings(url)) == spelled


@pytest.mark.parametrize("payload", ['AA","event":"stop', "AA\\", "AA==AA", "A A"])
def test_a_payload_that_would_write_json_of_its_own_is_garbage(payload: str) -> None:
    """Audio goes on as text inside our JSON, so only base64 may."""
    frame = json.dumps({"event": "media", "media": {"payload": payload, "timestamp": "0"}})
    assert isinstance(wire.decode(frame), wire.Garbage)


@pytest.mark.parametrize("timestamp", ["Infinity", "NaN", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_garbage(timestamp: str) -> None:
    """JSON as Python reads it knows infinities; a stream's clock does not."""
    frame = '{"event":"media","media":{"payload":"AA==","timestamp":' + timestamp + "}}"
    assert isinstance(wire.decode(frame), wire.Garbage)


def test_a_start_with_odd_sids_is_garbage() -> None:
    """SIDs stand in messages and file names: letters and digits alone."""
    start = {"streamSid": 'MZ"', "callSid": "CA1", "accountSid": "AC1", "mediaFormat": {}}
    assert isinstance(wire.decode(json.dumps({"event": "start", "start": start})), wire.Garbage)
