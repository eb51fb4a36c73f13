"""The media stream, as the customer's server sees it."""

from __future__ import annotations

import base64
import itertools
import re
import socket
from typing import Any

import pytest
from starlette.responses import Response
from twilio.request_validator import RequestValidator

from ops.speech import g711
from tests.vendors.twilio.simulator.conftest import (
    ACCOUNT,
    TOKEN,
    TONE,
    Customer,
    Simulator,
    StreamLog,
    wait_for,
)
from tests.vendors.twilio.simulator.test_fuzz import frames


def codes(view: dict[str, Any]) -> list[int]:
    return [error["code"] for error in view["errors"]]


def at(view: dict[str, Any], name: str) -> float:
    return next(float(event["at_ms"]) for event in view["events"] if event["name"] == name)


def b64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def test_a_stream_from_connected_to_stop(simulator: Simulator, customer: Customer) -> None:
    """The upgrade is signed; the messages come in Twilio's order and shapes, numbered without a gap."""
    customer.answers["/twiml"] = customer.connect(
        parameters='<Parameter name="ticket" value="t&amp;1"/>',
        attributes=f'name="agent" statusCallback="{customer.url}/stream-status"',
    )
    sid = simulator.dial(
        {"do": "say", "audio": b64(TONE)},
        {"do": "press", "digits": "5"},
        {"do": "pause", "ms": 100},
        {"do": "hang-up"},
    )
    view = simulator.over(sid)
    (log,) = customer.streams
    signature = log.headers["x-twilio-signature"]
    assert RequestValidator(TOKEN).validate(customer.stream_url, {}, signature)
    wait_for(lambda: log.messages[-1]["event"] == "stop", "the stop message")
    connected, start, *rest = log.messages
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert re.fullmatch("MZ[0-9a-f]{32}", start["streamSid"])
    assert start["sequenceNumber"] == "1"
    assert start["start"] == {
        "accountSid": ACCOUNT,
        "callSid": sid,
        "streamSid": start["streamSid"],
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"ticket": "t&1"},
    }
    assert [message["sequenceNumber"] for message in rest] == [str(n + 2) for n in range(len(rest))]
    media = [message["media"] for message in log.of("media")]
    assert [frame["chunk"] for frame in media] == [str(n + 1) for n in range(len(media))]
    times = [int(frame["timestamp"]) for frame in media]
    assert [b - a for a, b in itertools.pairwise(times)] == [20] * (len(times) - 1)
    assert {frame["track"] for frame in media} == {"inbound"}
    assert TONE[160:1440] in b"".join(base64.b64decode(frame["payload"]) for frame in media)
    (dtmf,) = log.of("dtmf")
    assert dtmf["dtmf"] == {"track": "inbound_track", "digit": "5"}
    assert rest[-1]["stop"] == {"accountSid": ACCOUNT, "callSid": sid}
    assert view["errors"] == []
    wait_for(lambda: len(customer.of("/stream-status")) == 2, "the stream's callbacks")
    told = customer.of("/stream-status")
    assert [hook.form["StreamEvent"] for hook in told] == ["stream-started", "stream-stopped"]
    assert told[0].form["StreamSid"] == start["streamSid"]
    assert told[0].form["StreamName"] == "agent"
    for hook in told:
        assert RequestValidator(TOKEN).validate(hook.url, hook.form, hook.headers["x-twilio-signature"])


def test_frames_come_in_real_time(simulator: Simulator, customer: Customer) -> None:
    """Fifty frames take a second, whatever happens to single ones."""
    customer.answers["/twiml"] = customer.connect()
    view = simulator.over(simulator.dial({"do": "pause", "ms": 1000}, {"do": "hang-up"}))
    (log,) = customer.streams
    arrived = [
        when for when, message in zip(log.times, log.messages, strict=True) if message["event"] == "media"
    ]
    assert len(arrived) > 40
    assert (arrived[-1] - arrived[0]) / (len(arrived) - 1) == pytest.approx(0.02, abs=0.002)
    assert view["pacing"]["frames"] == pytest.approx(50, abs=2)


def test_a_mark_comes_back_when_its_audio_was_played(simulator: Simulator, customer: Customer) -> None:
    """A mark behind 600 ms of audio returns after 600 ms, one behind nothing at once, in order."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.mark("before")
        for _ in range(3):
            await log.play(TONE)
        await log.mark("after")
        await log.play(TONE)
        await log.mark("last")
        while len(log.of("mark")) < 3:
            await log.receive()
        await log.socket.close()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    (log,) = customer.streams
    assert [message["mark"]["name"] for message in log.of("mark")] == ["before", "after", "last"]
    marks = [event["at_ms"] for event in view["events"] if event["name"] == "mark"]
    began = at(view, "stream.first-audio")
    assert marks[0] <= began + 20
    assert marks[1] - began == pytest.approx(600, abs=40)
    assert marks[2] - began == pytest.approx(800, abs=40)
    assert view["heard"]["frames"] == pytest.approx(40, abs=2)


def test_clear_silences_at_once_and_returns_the_marks(simulator: Simulator, customer: Customer) -> None:
    """Ten seconds are sent, 400 ms are heard; both marks come back with the clear."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        for _ in range(50):
            await log.play(TONE)
        await log.mark("one")
        await log.mark("two")
        for _ in range(20):
            await log.until("media")
        await log.send("clear")
        while len(log.of("mark")) < 2:
            await log.receive()
        await log.socket.close()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    (log,) = customer.streams
    assert [message["mark"]["name"] for message in log.of("mark")] == ["one", "two"]
    clear = next(event for event in view["events"] if event["name"] == "clear")
    assert clear["marks"] == 2
    assert clear["unplayed_ms"] > 8000
    assert view["heard"]["frames"] * 20 + clear["unplayed_ms"] == pytest.approx(10_000, abs=60)


def test_the_person_barges_in(simulator: Simulator, customer: Customer) -> None:
    """`hear` 400 ms, then speaking, while the agent's ten seconds still play."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        for _ in range(50):
            await log.play(TONE)
        while True:
            message = await log.until("media")
            if g711.level(base64.b64decode(message["media"]["payload"])) > -40:
                await log.send("clear")
                return

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    sid = simulator.dial({"do": "hear", "ms": 400}, {"do": "say", "audio": b64(TONE)}, {"do": "hang-up"})
    view = simulator.over(sid)
    hear, say, _ = view["steps"]
    assert hear["ended_ms"] - at(view, "stream.first-audio") == pytest.approx(400, abs=100)
    assert at(view, "clear") - say["at_ms"] < 8000  # of the ten seconds that would have played
    assert [step["done"] for step in view["steps"]] == [True, True, True]


def test_the_twiml_goes_on_when_the_server_closes(simulator: Simulator, customer: Customer) -> None:
    """After a clean close the verb behind <Connect> runs, and nothing is an error."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.socket.close(1000)

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect(after="<Redirect>/after</Redirect>")
    customer.answers["/after"] = "<Response/>"
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert len(customer.of("/after")) == 1
    assert view["errors"] == []


def test_connects_action_is_asked_after_the_stream(simulator: Simulator, customer: Customer) -> None:
    """With `action` the next document comes from there, and the verbs behind are not run."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.socket.close(1000)

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect(
        connect='action="/next"', after="<Redirect>/after</Redirect>"
    )
    customer.answers["/next"] = "<Response/>"
    simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert (len(customer.of("/next")), len(customer.of("/after"))) == (1, 0)


@pytest.mark.parametrize("resume", [True, False])
def test_after_an_abrupt_loss_the_twiml_goes_on_or_not(
    simulator: Simulator, customer: Customer, resume: bool
) -> None:
    """Twilio does not document it, so it is a switch; either way the loss is error 31921."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.until("media")
        log.cut()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect(
        after="<Redirect>/after</Redirect>", attributes=f'statusCallback="{customer.url}/stream-status"'
    )
    customer.answers["/after"] = "<Response/>"
    simulator.http.put("/_sim/account", json={"resume_after_loss": resume})
    try:
        view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    finally:
        simulator.http.put("/_sim/account", json={"resume_after_loss": True})
    assert codes(view) == [31921]
    assert len(customer.of("/after")) == (1 if resume else 0)
    wait_for(lambda: len(customer.of("/stream-status")) == 3, "the stream's callbacks")
    events = [hook.form["StreamEvent"] for hook in customer.of("/stream-status")]
    assert events == ["stream-started", "stream-error", "stream-stopped"]
    assert customer.of("/stream-status")[1].form["StreamError"].startswith("31921 ")


def test_a_close_with_an_error_code_is_31921(simulator: Simulator, customer: Customer) -> None:
    """1011 is told as an error; the TwiML goes on."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.socket.close(1011)

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    assert codes(simulator.over(simulator.dial({"do": "pause", "ms": 9000}))) == [31921]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("{ws}/nowhere", 31920),
        ("{ws}/call?ticket=1", 31920),
        ("ws://example.com/call", 31923),
        ("https://example.com/call", 31923),
        ("wss://https://example.com", 31923),
        ("ws://127.0.0.1:{closed}/call", 31902),
    ],
)
def test_a_stream_that_cannot_open_says_why(
    simulator: Simulator, customer: Customer, free_ports: Any, address: str, code: int
) -> None:
    """Handshake, query string, scheme, refused: each by its number; the TwiML goes on."""
    url = address.format(ws=f"ws://127.0.0.1:{customer.stream_port}", closed=free_ports(1)[0])
    customer.answers["/twiml"] = (
        f'<Response><Connect><Stream url="{url}" statusCallback="{customer.url}/stream-status"/></Connect>'
        "<Redirect>/after</Redirect></Response>"
    )
    customer.answers["/after"] = "<Response/>"
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert codes(view) == [code]
    assert len(customer.of("/after")) == 1
    wait_for(lambda: customer.of("/stream-status"), "the stream's callback")
    assert customer.of("/stream-status")[0].form["StreamEvent"] == "stream-error"


def test_wrong_messages_are_31951_once(simulator: Simulator, customer: Customer) -> None:
    """Ten wrong messages are one warning, a binary one is 31950; the stream lives on."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        for _ in range(5):
            await log.socket.send("garbage")
            await log.send("mark", mark={})
        await log.socket.send(b"\0\1")
        await log.mark("alive")
        await log.until("mark")
        await log.socket.close()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert codes(view) == [31951, 31950]
    assert customer.streams[0].of("mark")[0]["mark"] == {"name": "alive"}


def test_more_than_ten_minutes_of_audio_are_31931_once(simulator: Simulator, customer: Customer) -> None:
    """What comes on top is discarded with one warning; after a clear the stream plays on."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        for _ in range(9):
            await log.play(bytes(700_000))
        await log.send("clear")
        await log.mark("alive")
        await log.until("mark")
        await log.socket.close()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    assert codes(simulator.over(simulator.dial({"do": "pause", "ms": 9000}))) == [31931]


def test_frames_that_break_the_websocket_protocol_are_31924(simulator: Simulator, customer: Customer) -> None:
    """A message beyond the size limit ends the stream with a protocol error."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.play(bytes(1_000_000))
        await log.until("stop")

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    assert codes(simulator.over(simulator.dial({"do": "pause", "ms": 9000}))) == [31924]


def test_a_one_way_stream_runs_beside_the_verbs(simulator: Simulator, customer: Customer) -> None:
    """<Start><Stream track="both_tracks"> carries both sides while <Say> speaks; it accepts no messages."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.mark("not here")
        await log.until("stop")

    customer.talk = talk
    customer.answers["/tone"] = Response(TONE, media_type="audio/basic")
    customer.answers["/twiml"] = (
        f'<Response><Start><Stream url="{customer.stream_url}" name="tap" track="both_tracks"/></Start>'
        '<Play>/tone</Play><Stop><Stream name="tap"/></Stop></Response>'
    )
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    (log,) = customer.streams
    wait_for(lambda: log.messages[-1]["event"] == "stop", "the stop message")
    assert log.messages[1]["start"]["tracks"] == ["inbound", "outbound"]
    out = b"".join(
        base64.b64decode(m["media"]["payload"]) for m in log.of("media") if m["media"]["track"] == "outbound"
    )
    assert g711.level(out) > -35
    assert codes(view) == [31951]


def test_the_verbs_do_not_wait_for_a_one_way_stream(simulator: Simulator, customer: Customer) -> None:
    """While <Start><Stream> knocks at a server that never answers, the next verb runs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stream = f'<Stream url="ws://127.0.0.1:{silent.getsockname()[1]}/call"/>'
        customer.answers["/twiml"] = (
            f"<Response><Start>{stream}</Start><Redirect>/after</Redirect></Response>"
        )
        customer.answers["/after"] = "<Response/>"
        view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}), seconds=3)
    assert len(customer.of("/after")) == 1
    assert view["errors"] == []


def test_a_server_that_does_not_read_loses_audio(simulator: Simulator, customer: Customer) -> None:
    """When the network takes nothing any more, frames are discarded with one warning 31930."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        log.stop_reading()
        await log.socket.wait_closed()

    customer.talk = talk
    stream = f'<Stream url="{customer.stream_url}" track="both_tracks"/>'
    customer.answers["/twiml"] = f"<Response><Start>{stream}</Start><Pause length='30'/></Response>"
    sid = simulator.dial({"do": "pause", "ms": 20_000})
    wait_for(lambda: codes(simulator.call(sid)) == [31930], "the warning")
    simulator.http.post(f"/_sim/calls/{sid}/hang-up")
    assert codes(simulator.over(sid)) == [31930]


@pytest.mark.parametrize("name", ["stream-reset", "stream-stall", "caller-half-open", ""])
def test_a_stream_dies_on_request(simulator: Simulator, customer: Customer, name: str) -> None:
    """By a fault, or by the person's own line: the messages end, and no stop ever comes."""
    customer.answers["/twiml"] = customer.connect()
    if name:
        simulator.fault(name, ms=200)
    order = {} if name else {"half_open_ms": 200}
    simulator.over(simulator.dial({"do": "pause", "ms": 500}, {"do": "hang-up"}, **order))
    (log,) = customer.streams
    assert log.of("stop") == []
    assert 5 <= len(log.of("media")) <= 14


@pytest.mark.parametrize("name", ["stream-slow", ""])
def test_frames_come_late_in_bursts_on_request(simulator: Simulator, customer: Customer, name: str) -> None:
    """By a fault, or by the person's own line: frames are held and come together, in order and complete."""
    customer.answers["/twiml"] = customer.connect()
    if name:
        simulator.fault(name, ms=150)
    order = {} if name else {"late_ms": 150}
    simulator.over(simulator.dial({"do": "pause", "ms": 500}, {"do": "hang-up"}, **order))
    (log,) = customer.streams
    wait_for(lambda: log.of("stop"), "the stop message")
    gaps = [b - a for a, b in itertools.pairwise(log.times[2:])]
    assert sum(gap < 0.01 for gap in gaps) > len(gaps) / 2
    chunks = [int(message["media"]["chunk"]) for message in log.of("media")]
    assert chunks == list(range(1, len(chunks) + 1))


def test_frames_are_missing_on_request(simulator: Simulator, customer: Customer) -> None:
    """`stream-drop` leaves out a share of the frames, the same ones for the same seed."""
    customer.answers["/twiml"] = customer.connect()

    calls = []
    for number, seed in enumerate((1, 1, 2)):  # side by side, each with the fault that was armed for it
        simulator.fault("stream-drop", share=0.3, seed=seed)
        calls.append(simulator.dial({"do": "pause", "ms": 500}, {"do": "hang-up"}))
        wait_for(lambda number=number: len(customer.streams) > number, "its stream")
    for sid in calls:
        simulator.over(sid)

    def kept(log: StreamLog) -> list[int]:
        times = [int(m["media"]["timestamp"]) for m in log.of("media")]
        return [b - a for a, b in itertools.pairwise(times)][:10]

    first, again, other = map(kept, customer.streams)
    assert set(first) > {20}
    assert first == again
    assert first != other


def test_other_troubles_of_a_stream(simulator: Simulator, customer: Customer) -> None:
    """Slices, garbage, a-law, no parameters, no marks, a forged upgrade: each where it was asked for."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        await log.mark("lost")

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect(parameters='<Parameter name="ticket" value="1"/>')
    for name in ("stream-slice", "stream-alaw", "stream-ticketless", "marks-lost", "stream-forged"):
        simulator.fault(name)
    simulator.over(simulator.dial({"do": "pause", "ms": 200}, {"do": "hang-up"}))
    (log,) = customer.streams
    wait_for(lambda: log.of("stop"), "the stop message")
    assert log.messages[1]["start"]["customParameters"] == {}
    assert log.of("mark") == []
    assert set(base64.b64decode(log.of("media")[0]["media"]["payload"])) == set(g711.ALAW_SILENCE)
    assert not RequestValidator(TOKEN).validate(customer.stream_url, {}, log.headers["x-twilio-signature"])


@pytest.mark.parametrize("by_fault", [False, True])
def test_a_noisy_and_lossy_line(simulator: Simulator, customer: Customer, by_fault: bool) -> None:
    """Noise of the asked level is in every frame that arrives; lost frames leave gaps in the time."""
    customer.answers["/twiml"] = customer.connect()
    order = {} if by_fault else {"noise_dbfs": -40, "loss": 0.2, "seed": 3}
    if by_fault:
        simulator.fault("caller-noisy", below_dbfs=40)
        simulator.fault("caller-lossy", share=0.2, seed=3)
    simulator.over(simulator.dial({"do": "pause", "ms": 400}, {"do": "hang-up"}, **order))
    media = [message["media"] for message in customer.streams[0].of("media")]
    audio = b"".join(base64.b64decode(frame["payload"]) for frame in media)
    assert g711.level(audio) == pytest.approx(-40, abs=1.5)
    steps = [int(b["timestamp"]) - int(a["timestamp"]) for a, b in itertools.pairwise(media)]
    assert 40 in steps
    assert set(steps) <= {20, 40, 60, 80, 100}


def test_the_person_vanishes_and_streams_are_refused_on_request(
    simulator: Simulator, customer: Customer
) -> None:
    """The call ends in the middle with a stop; a refused stream is 31902 and never comes."""
    customer.answers["/twiml"] = customer.connect()
    simulator.fault("caller-vanishes", ms=200)
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert [step["done"] for step in view["steps"]] == [None]
    (log,) = customer.streams
    wait_for(lambda: log.of("stop"), "the stop message")
    simulator.fault("stream-refused")
    assert codes(simulator.over(simulator.dial({"do": "pause", "ms": 9000}))) == [31902]
    assert customer.streams == [log]


def test_garbage_between_frames_on_request(simulator: Simulator, customer: Customer) -> None:
    """`stream-garbage` puts in messages that no decoder of Twilio's knows."""
    seen: list[str] = []

    async def talk(log: StreamLog) -> None:
        while '"stop"' not in (text := str(await log.socket.recv())):
            seen.append(text)

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    simulator.fault("stream-garbage", every=2, seed=4)
    simulator.over(simulator.dial({"do": "pause", "ms": 400}, {"do": "hang-up"}))
    proper = re.compile(r'\{"event":"(connected|start|media)"')
    assert sum(not proper.match(text) for text in seen) >= 5


def test_a_real_stream_survives_garbage(simulator: Simulator, customer: Customer) -> None:
    """Two thousand frames over the socket: one warning, and a mark still comes back."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        for text in frames(7, 2000, log.sid):
            await log.socket.send(text)
        await log.send("clear")
        await log.mark("still here")
        while not any(message["mark"]["name"] == "still here" for message in log.of("mark")):
            await log.receive()
        await log.socket.close()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect()
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert codes(view) == [31951]


@pytest.mark.parametrize(
    "bytes_", [b"\x81\x85garba", b"\xff\xff\xff\xff", b"\x09\x01x", b"\x83\x01x", b"\x81\x02\xc3\x28"]
)
def test_broken_websocket_frames_end_the_stream_not_the_call(
    simulator: Simulator, customer: Customer, bytes_: bytes
) -> None:
    """Masked, reserved, oversized control frames and bad UTF-8: 31924 or 31950, and the TwiML goes on."""

    async def talk(log: StreamLog) -> None:
        await log.until("start")
        log.socket.transport.write(bytes_)
        if bytes_ == b"\x81\x02\xc3\x28":
            await log.mark("text again")
            await log.until("mark")
            await log.socket.close()
        await log.socket.wait_closed()

    customer.talk = talk
    customer.answers["/twiml"] = customer.connect(after="<Redirect>/after</Redirect>")
    customer.answers["/after"] = "<Response/>"
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert codes(view)[0] in (31924, 31950)
    assert len(customer.of("/after")) == 1
