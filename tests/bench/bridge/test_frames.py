"""The load's messages: what a watermark survives, and that Trunkline's own wire reads each message."""

from __future__ import annotations

import base64
import json

import pytest

from ops.bench import wire
from ops.bench.bridge import frames
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone

SPEECH = bytes(range(256)) * 5
STREAM = b"MZ0123"


def test_a_watermark_is_audio_and_tells_call_and_frame() -> None:
    """Digits in front of the payload: it stays base64 of 160 bytes, and the numbers come back."""
    pieces = frames.payloads(SPEECH)
    payload = frames.watermark(37, 1234567) + pieces[1]
    assert len(pieces) == len(SPEECH) // frames.FRAME
    assert divmod(int(payload[: frames.DIGITS]), frames.PER_CALL) == (37, 1234567)
    audio = base64.b64decode(payload, validate=True)
    assert audio[9:] == SPEECH[frames.FRAME + 9 : 2 * frames.FRAME]


def test_our_own_wire_reads_every_message() -> None:
    """What the load says is what Twilio and the model say."""
    speech = frames.payloads(SPEECH)[0]
    payload = frames.watermark(1, 2) + speech
    assert phone.decode(frames.media(2, 3, 1, speech, STREAM)) == phone.Media(payload.decode(), 40)
    assert (
        len(frames.media(0, 1, 1, speech, b""))
        > frames.SHORTEST_AUDIO
        > len(frames.mark(10**6, STREAM * 6, b"12:34567.125"))
    )
    assert phone.decode(frames.mark(4, STREAM, b"0:20")) == phone.Mark("0:20")
    heard = model.decode(frames.delta(7, b"resp_1", b"item_1", payload))
    assert heard == model.Audio("resp_1", "item_1", payload.decode())


def test_a_text_is_found_however_the_relay_writes_its_json() -> None:
    """With spaces as Python writes them, without as JavaScript does; what is absent is None."""
    for separators in ((", ", ": "), (",", ":")):
        text = json.dumps({"event": "media", "media": {"payload": "12AB=="}}, separators=separators).encode()
        assert frames.value(text, frames.PAYLOAD) == b"12AB=="
        assert frames.value(text, frames.NAME) is None


@pytest.mark.parametrize("size", [5, 125, 126, 70_000])
def test_frames_of_a_client_are_read_by_a_server(size: int) -> None:
    """Every length form, several in one piece, the mask taken off again."""
    texts = [b"a" * size, b"b"]
    buffer = bytearray(frames.from_client(texts))
    assert [wire.take(buffer), wire.take(buffer)] == [(wire.TEXT, text) for text in texts]
    assert not buffer
    assert frames.from_server(texts) == b"".join(wire.frame(wire.TEXT, text) for text in texts)
