"""The texts of a media stream."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.vendors.twilio.simulator import messages
from ops.vendors.twilio.simulator.messages import Clear, Mark, Media, Wrong

SID = "MZ" + "1" * 32


def text(**fields: Any) -> str:
    return json.dumps({"streamSid": SID, **fields})


def test_a_frame_is_written_as_twilio_writes_it() -> None:
    """Every number inside a media message is a string, and 20 ms are 216 characters of base64."""
    message = json.loads(messages.media(3, SID, "inbound", 2, 40, b"\xff" * 160))
    assert message == {
        "event": "media",
        "sequenceNumber": "3",
        "media": {
            "track": "inbound",
            "chunk": "2",
            "timestamp": "40",
            "payload": base64.b64encode(b"\xff" * 160).decode(),
        },
        "streamSid": SID,
    }
    assert len(message["media"]["payload"]) == 216


def test_the_three_messages_of_a_server_are_accepted() -> None:
    """media, mark and clear with exactly their fields are taken as they are."""
    audio = text(event="media", media={"payload": base64.b64encode(b"abc").decode()})
    assert messages.read(audio, SID) == Media(b"abc")
    assert messages.read(text(event="mark", mark={"name": "m"}), SID) == Mark("m")
    assert messages.read(text(event="clear"), SID) == Clear()


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        text(event="stop"),
        text(event=["media"]),
        text(event="media"),
        text(event="media", media={"payload": 5}),
        text(event="media", media={"payload": "not base64!"}),
        text(event="mark"),
        text(event="mark", mark={}),
        text(event="mark", mark={"name": ""}),
        text(event="mark", mark={"name": 7}),
        json.dumps({"event": "clear"}),
        json.dumps({"event": "clear", "streamSid": "MZ" + "2" * 32}),
    ],
)
def test_what_twilio_does_not_accept_is_wrong(wrong: str) -> None:
    """Bad JSON, unknown events, missing fields and another stream's SID are wrong messages."""
    assert isinstance(messages.read(wrong, SID), Wrong)


def test_unexpected_fields_and_file_headers_are_odd() -> None:
    """They are warned about, and the message still counts."""
    more = messages.read(text(event="mark", mark={"name": "m", "more": 1}), SID)
    wav = messages.read(text(event="media", media={"payload": base64.b64encode(b"RIFF....").decode()}), SID)
    assert isinstance(more, Mark)
    assert more.oddity
    assert isinstance(wav, Media)
    assert wav.oddity


@settings(max_examples=50, deadline=None)
@given(st.text() | st.dictionaries(st.text(), st.none() | st.text()).map(json.dumps))
def test_reading_never_raises(anything: str) -> None:
    """Any text at all is either accepted or wrong."""
    assert messages.read(anything, SID) is not None
