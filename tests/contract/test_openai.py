"""The official `openai` SDK and our own wire talk to the Realtime simulator, or to OpenAI.

Every event that arrives must parse strictly with the SDK's own type of all server events.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ops.speech import library
from ops.vendors.openai import wire
from ops.vendors.openai.client import models
from tests.contract.conftest import Vendor

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
FRAME = 160  # bytes of mu-law in 20 ms
SILENCE = b"\xff" * FRAME


class Conversation:
    """A raw Realtime socket: what is sent is our wire's, what comes is read by the SDK and by our wire."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.decoded: list[wire.Event] = []

    def send(self, text: str) -> None:
        self.socket.send(text)

    def until(self, done: Callable[[dict[str, Any]], bool], seconds: float = 15.0) -> dict[str, Any]:
        """Receives up to and with the first event that `done` accepts."""
        end = time.monotonic() + seconds
        while True:
            text = self.socket.recv(timeout=max(0.01, end - time.monotonic()))
            event = json.loads(text)
            SERVER_EVENT.validate_python(event)
            self.events.append(event)
            self.decoded.append(wire.decode(text))
            if done(event):
                return event

    def until_type(self, kind: str, seconds: float = 15.0) -> dict[str, Any]:
        return self.until(lambda event: event["type"] == kind, seconds)

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@pytest.fixture
def sdk(openai_vendor: Vendor) -> Iterator[openai.OpenAI]:
    key = openai_vendor.settings.openai_api_key
    assert key
    with _client(openai_vendor, key.reveal()) as client:
        yield client


def _client(vendor: Vendor, key: str) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=vendor.settings.openai_base_url, max_retries=0)


@pytest.fixture
def session(openai_vendor: Vendor) -> Iterator[Conversation]:
    """An open session that has taken our settings."""
    with _socket(openai_vendor) as socket:
        conversation = Conversation(socket)
        conversation.until_type("session.created")
        conversation.send(_settings(openai_vendor))
        conversation.until_type("session.updated")
        yield conversation


def _socket(vendor: Vendor, **headers: str) -> ClientConnection:
    settings = vendor.settings
    assert settings.openai_api_key
    return connect(
        f"{settings.openai_realtime_url}?model={settings.openai_model}",
        additional_headers={"Authorization": f"Bearer {settings.openai_api_key.reveal()}", **headers},
        proxy=None,
        compression=None,
        max_size=None,
    )


def _settings(vendor: Vendor) -> str:
    settings = vendor.settings
    return wire.configure(
        instructions=settings.openai_instructions,
        voice=settings.openai_voice,
        transcription=settings.openai_transcription_model,
    )


def _speak(conversation: Conversation, audio: bytes) -> None:
    """Sends a caller's words at the pace of a phone, then a second of silence."""
    began = time.monotonic()
    frames = [audio[i : i + FRAME] for i in range(0, len(audio), FRAME)] + [SILENCE] * 50
    for index, frame in enumerate(frames):
        conversation.send(wire.append(base64.b64encode(frame).decode()))
        time.sleep(max(0.0, began + index * 0.02 - time.monotonic()))


def test_the_model_is_listed(sdk: openai.OpenAI, openai_vendor: Vendor) -> None:
    """The SDK and our client read the same models, ours among them."""
    listed = {model.id for model in sdk.models.list()}
    assert openai_vendor.settings.openai_model in listed
    assert {model.id for model in models(openai_vendor.settings)} == listed


def test_a_wrong_key_is_an_authentication_error(openai_vendor: Vendor) -> None:
    """A wrong key is 401 with the code invalid_api_key."""
    wrong = _client(openai_vendor, "sk-" + secrets.token_hex(20))
    with wrong as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


# the SDK calls websockets 17's connect() in the way that is deprecated there
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_the_sdk_opens_a_session_and_configures_it(sdk: openai.OpenAI, openai_vendor: Vendor) -> None:
    """With the SDK's own Realtime client: created, then updated to mu-law both ways."""
    with sdk.realtime.connect(model=openai_vendor.settings.openai_model) as connection:
        assert connection.recv().type == "session.created"
        audio = {
            "input": {"format": {"type": "audio/pcmu"}},
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
        }
        connection.session.update(session={"type": "realtime", "audio": audio})  # type: ignore[typeddict-item]
        updated = next(event for event in connection if event.type in ("session.updated", "error"))
    assert updated.type == "session.updated"
    assert updated.session.type == "realtime"
    assert updated.session.audio.output.format.type == "audio/pcmu"


def test_our_settings_are_taken(session: Conversation) -> None:
    """Our own session.update is confirmed with mu-law both ways."""
    ready = session.decoded[-1]
    assert isinstance(ready, wire.Ready)
    assert (ready.input_format, ready.output_format) == ("audio/pcmu", "audio/pcmu")


def test_a_probe_is_answered_and_changes_nothing(session: Conversation) -> None:
    """Whether it still hears: the same settings are confirmed once more."""
    before = session.decoded[-1]
    session.send(wire.probe())
    session.until_type("session.updated")
    assert session.decoded[-1] == before


def test_an_answer_comes_in_the_documented_order(session: Conversation) -> None:
    """A greeting: created, item, part, audio, transcript, done, and it is speech in mu-law."""
    session.send(wire.answer())
    done = session.until_type("response.done", 30)
    order = [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    places = [session.types.index(kind) for kind in order]
    assert places == sorted(places)
    assert done["response"]["status"] == "completed"
    assert done["response"]["usage"]["output_tokens"] > 0
    pieces = [one for one in session.decoded if isinstance(one, wire.Audio)]
    audio = b"".join(base64.b64decode(one.payload) for one in pieces)
    assert len(audio) > 8000 * 0.4  # bytes at 8 kHz: more than 0.4 s
    assert any(isinstance(one, wire.Transcript) and one.speaker == "agent" for one in session.decoded)


def test_speech_is_heard_and_answered(session: Conversation) -> None:
    """Real speech at the pace of a phone: started, stopped, committed, transcribed, answered."""
    _speak(session, library.line("caller-hours").audio)
    session.until_type("response.done", 30)
    order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
        "response.output_audio.delta",
        "response.done",
    ]
    places = [session.types.index(kind) for kind in order]
    assert places == sorted(places)
    heard = [one for one in session.decoded if isinstance(one, wire.SpeechStarted)]
    assert heard[0].at_ms >= 0
    transcript = "conversation.item.input_audio_transcription.completed"
    if transcript not in session.types:
        session.until_type(transcript)
    said = next(
        one for one in session.decoded if isinstance(one, wire.Transcript) and one.speaker == "caller"
    )
    assert "saturday" in said.text.lower()


def test_truncating_more_than_was_said_is_an_error_and_the_session_goes_on(session: Conversation) -> None:
    """Past the end of an answer's audio: an error; inside it: truncated; then another answer works."""
    session.send(wire.answer())
    session.until_type("response.done", 30)
    item = next(one.item_id for one in session.decoded if isinstance(one, wire.Audio))
    session.send(wire.truncate(item, 3_600_000))
    problem = session.until_type("error")
    assert "already shorter than" in problem["error"]["message"]
    session.send(wire.truncate(item, 200))
    assert session.until_type("conversation.item.truncated")["audio_end_ms"] == 200


def test_an_unknown_event_is_an_error_and_the_session_goes_on(session: Conversation) -> None:
    """Something that is not in the protocol is answered with an error that names our event."""
    session.send('{"type":"no.such.event","event_id":"event_ours"}')
    problem = session.until_type("error")["error"]
    assert problem["type"] == "invalid_request_error"
    session.send(wire.answer())
    assert session.until_type("response.done", 30)["response"]["status"] == "completed"


def test_a_second_answer_at_the_same_time_is_refused(session: Conversation) -> None:
    """While one answer runs another is refused with its own code; the first goes on."""
    session.send(wire.answer())
    session.send(wire.answer())
    session.until_type("response.done", 30)
    codes = [event["error"]["code"] for event in session.events if event["type"] == "error"]
    assert codes in ([], ["conversation_already_has_active_response"])
    if not codes:  # the error may also come last
        problem = session.until_type("error")
        assert problem["error"]["code"] == "conversation_already_has_active_response"


def test_the_beta_shape_is_refused(openai_vendor: Vendor) -> None:
    """A session with the retired beta header ends with 4000 or says that the shape is disabled."""
    with _socket(openai_vendor, **{"OpenAI-Beta": "realtime=v1"}) as socket:
        conversation = Conversation(socket)
        with pytest.raises(ConnectionClosed) as caught:
            conversation.until(lambda event: False, 10)
    codes = [event["error"]["code"] for event in conversation.events if event["type"] == "error"]
    assert caught.value.rcvd
    assert caught.value.rcvd.code == 4000 or codes == ["beta_api_shape_disabled"]
