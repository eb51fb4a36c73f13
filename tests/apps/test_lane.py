"""The compiled lane carries frames as Python does: the same texts to either side, the same call behind them."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import shutil
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import picows
import pytest
from msgspec import structs

from ops.apps.actions import Agent
from ops.apps.call import TOGETHER, Call
from ops.apps.passing import AnswerPasses, CallerPasses, Piece
from ops.apps.session import Session
from ops.apps.transports import Address, Passage, Socket, make_lane, native
from ops.config import Settings
from ops.vendors.openai import wire as model
from ops.vendors.twilio import wire as phone
from tests.apps.awkward_frames import BINARY, CLOSE, CONTINUATION, TEXT, Case, close
from tests.apps.fuzzed import AUDIO, CREATED, LOUD, PHONE, QUIET, SPOKEN, START, VOICE, mutated
from tests.apps.fuzzed import media as media_frame
from tests.apps.test_call import READY, Memory
from tests.apps.test_fuzz import LINES, Turned
from tests.apps.test_transports import Peer, ended, model_side, phone_side, run

here = pytest.mark.skipif(native.Lane is None, reason="there is no C compiler here, so no lane")


def test_where_there_is_a_compiler_there_is_a_lane() -> None:
    assert native.Lane is not None or not any(map(shutil.which, make_lane.COMPILERS))


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In one line, and no half a lane is left."""
    monkeypatch.setattr(make_lane, "COMPILERS", ("no-such-compiler",))
    with pytest.raises(make_lane.NotMade, match="no C compiler"):
        make_lane.make(tmp_path / "lane" / "x.so")
    assert list(tmp_path.rglob("*")) == []


def test_a_source_that_does_not_compile_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "lane.pyx"
    source.write_text("cdef int x = unknown\n")
    monkeypatch.setattr(make_lane, "SOURCE", source)
    with pytest.raises(make_lane.NotMade, match="could not compile it"):
        make_lane.make(tmp_path / "lane" / "x.so")
    assert list((tmp_path / "lane").iterdir()) == []


class Drain:
    """A transport of asyncio whose other side is a list of texts: a server's frames, unmasked."""

    def __init__(self, texts: list[str], wire: socket.socket) -> None:
        self._texts, self._wire = texts, wire
        self.writes = 0

    def get_extra_info(self, name: str) -> Any:
        return self._wire if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 1  # so that nothing goes to the socket itself

    def write(self, data: bytes) -> None:
        self.writes += 1
        while data and data[0] != 0x88:  # a close frame is the last
            assert data[0] == 0x81
            size, at = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            assert len(data) >= at + size
            self._texts.append(data[at : at + size].decode())
            data = data[at + size :]


class Laned(Memory):
    """A socket whose other side is the test, with a lane to the other one as sockets have it."""

    def __init__(self, wire: socket.socket, passed: Counter[str]) -> None:
        super().__init__()
        self.end = native.Listener()  # says that this side does not take what it is sent
        self.passed = passed
        self.lane: Any = None
        self._loop = asyncio.get_running_loop()
        log = logging.Logger("test", logging.CRITICAL)
        self.transport = picows.WSTransport(False, Drain(self.sent, wire), log, self._loop)

    def lane_to(self, other: Socket, piece: Piece, append: str, media: str, mark: str) -> Passage | None:
        assert isinstance(other, Laned)
        ends = self.end, self.transport, other.end, other.transport
        self.lane = native.Lane(*ends, piece, append, media, mark)
        other.lane = self.lane
        self.hears_phone = True
        return self.lane  # type: ignore[no-any-return]

    def leave_lane(self) -> None:
        self.lane = None

    def says(self, text: str | bytes) -> None:
        if self.lane is not None and isinstance(text, str):
            offer = self.lane.offer_from_phone if hasattr(self, "hears_phone") else self.lane.offer_from_model
            if offer(text.encode("utf-8", "surrogatepass"), self._loop.time()):
                self.passed[next(kind for kind in ("mark", "media", "delta") if f'"{kind}"' in text)] += 1
                return
        super().says(text)  # type: ignore[arg-type]


VOICES = (LOUD, VOICE, QUIET, QUIET)
SETTLES = 6  # turns of the loop: a look at the clock, the one that it puts off, the task that it starts


def phone_says(dice: random.Random, voices: Sequence[dict[str, Any]]) -> str:
    """What comes from a caller in a call that goes well, mostly."""
    chance = dice.random()
    if chance < 0.985:
        frame = dice.choice(voices)
        return json.dumps(frame, separators=dice.choice(((",", ":"), (", ", ": "))))
    return json.dumps(mutated(dice.choice(PHONE[:-1]), dice))


def model_says(answer: int, dice: random.Random) -> str:
    """What comes from the model: pieces of an answer, mostly."""
    chance, of_now = dice.random(), {**AUDIO, "response_id": f"r{answer}", "item_id": f"i{answer}"}
    if chance < 0.975:
        return json.dumps(of_now)
    if chance < 0.985:
        return json.dumps({**of_now, "delta": base64.b64encode(b"\x50" * dice.randrange(1, 900)).decode()})
    if chance < 0.995:
        return json.dumps(mutated(of_now, dice))
    return json.dumps(dice.choice(SPOKEN))


Told = list[object]


class Talk:
    """Calls on a clock that the test turns, one after the other, and all that is seen of them from outside."""

    def __init__(
        self, root: Path, loop: Turned, wire: socket.socket | None, seed: int, voices: Sequence[Any] = VOICES
    ) -> None:
        self.voices = voices
        self.root, self.loop, self.wire, self.dice = root, loop, wire, random.Random(seed)
        self.passed: Counter[str] = Counter()
        self.told: Told = []
        self.answer = 0
        self.settings = Settings.load(root, {}, files=False)
        self.begin()

    def socket(self) -> Memory:
        return Memory() if self.wire is None else Laned(self.wire, self.passed)

    async def dial(self, address: Address) -> Socket:
        self.model = self.socket()
        return self.model

    def begin(self) -> None:
        self.phone, self.model, self.greeted = self.socket(), None, False
        agent = Agent("x", "y", "z", greets=self.dice.random() < 0.5, lines=LINES)
        self.call = Call(
            self.phone, START, self.settings, agent, self.dial, model, record_in=None,
            remember=self.told.append, measure=self.told.append,
        )  # fmt: skip
        self.task = self.loop.create_task(self.call.run())

    async def step(self) -> None:
        """Twenty milliseconds. First what is due by then happens, whatever it wakes for it: on a lane the clock is
        looked at in other moments too, which must not bring anything forward."""
        self.loop.now += 0.02
        for _ in range(SETTLES):
            await asyncio.sleep(0)
        dice, upstream = self.dice, self.model
        if dice.random() < 0.99:
            self.phone.says(phone_says(dice, self.voices))
        if upstream is not None and upstream.closed is None:
            if not self.greeted:
                self.greeted = True
                upstream.says(json.dumps(CREATED))
                upstream.says(READY)
            pieces = (
                (0, 0, *[1] * 14, 2) if self.answer % 3 else (0, *[1] * 5, 2)
            )  # it keeps up, or runs ahead
            for _ in range(dice.choice(pieces)):
                if upstream.closed is None:
                    upstream.says(said := model_says(self.answer, dice))
                    self.answer += "delta" not in said
            if dice.random() < 0.0003:
                upstream._ended(1006, "gone")
                self.greeted = False
        if dice.random() < 0.001:
            self.loop.now += dice.choice((0.1, 0.5, 1.7))
        for text in self.phone.sent:
            if '"mark"' in text and dice.random() < 0.9:
                self.phone.says(text)
        self.told += ["phone", *self.phone.sent]
        self.phone.sent.clear()
        if upstream is not None:
            self.told += ["model", *upstream.sent]
            upstream.sent.clear()
        await asyncio.sleep(0)
        if self.call.reason is not None or dice.random() < 0.0005:
            await self.end()
            self.begin()

    async def end(self) -> None:
        self.call.end("enough")
        while not self.task.done():
            self.loop.now += 0.02
            await asyncio.sleep(0)
        self.task.result()
        self.told.append(self.call.reason)


@here
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [5, 6])
def test_a_call_on_the_lane_is_the_same_call(
    seed: int, root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes, in whatever order: with a lane, the texts to either side, the rows of the call's file and the
    numbers are those without; and most frames do pass on it."""
    count = 200_000 if request.config.getoption("--long") else 20_000
    told, passed = with_and_without(root, monkeypatch, count, seed, VOICES)
    print(f"of {count} frames a side passed {dict(passed)}")
    assert len(told) > count
    assert passed["media"] > count / 3
    assert passed["delta"] > count / 10
    assert passed["mark"] > count / 1000


@here
def test_another_codec_is_noticed_at_the_same_frame(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [media_frame(base64.b64encode(bytes((low, 0)) * 80).decode()) for low in range(0, 250, 50)]
    told, passed = with_and_without(root, monkeypatch, 500, 1, samples)
    assert passed["media"] > 20
    assert any("codec mismatch" in str(one) for one in told)


def with_and_without(
    root: Path, monkeypatch: pytest.MonkeyPatch, count: int, seed: int, voices: Sequence[dict[str, Any]]
) -> tuple[Told, Counter[str]]:
    """What so many steps of calls tell, which must be the same with a lane and without, and what passed on it."""

    def outcome(wire: socket.socket | None) -> tuple[Told, Counter[str]]:
        monkeypatch.setattr("ops.apps.conduct.DICE", random.Random(3))

        async def scenario(loop: Turned) -> tuple[Told, Counter[str]]:
            talk = Talk(root, loop, wire, seed, voices)
            for _ in range(count):
                await talk.step()
            await talk.end()
            return talk.told, talk.passed

        with asyncio.Runner(loop_factory=Turned) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, Turned)
            return runner.run(scenario(loop))

    with socket.socket() as wire:
        laned, passed = outcome(wire)
    plain, none = outcome(None)
    for number, (one, other) in enumerate(zip(laned, plain, strict=False)):
        assert one == other, (number, laned[number - 5 : number + 2], plain[number - 5 : number + 2])
    assert len(laned) == len(plain)
    assert not none
    return laned, passed


@here
def test_a_stream_on_the_lane_still_delivers(root: Path) -> None:
    """A second stream of its call asks for that, and must be refused while frames pass."""

    async def scenario(loop: Turned) -> None:
        talk = Talk(root, loop, wire, seed=1)
        while not talk.passed["media"]:
            await talk.step()
        loop.now += 0.9
        talk.phone.says(json.dumps(QUIET))
        passed = talk.passed["media"]
        loop.now += 0.5
        assert (await talk.call.standing()).quiet == pytest.approx(0.5)
        assert passed > 1
        await talk.end()

    with socket.socket() as wire, asyncio.Runner(loop_factory=Turned) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Turned)
        runner.run(scenario(loop))


@here
def test_an_answer_that_goes_on_wakes_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece puts off the moment at which the line would have been silent for too long, and that alone. The
    clock is looked at by all calls at the same moments, but for one that is near."""
    woken: list[float] = []
    looked: list[float] = []
    on_time, goes_on = Session.on_time, Call._goes_on
    monkeypatch.setattr(Session, "on_time", lambda one, now: woken.append(now) or on_time(one, now))
    monkeypatch.setattr(Call, "_goes_on", lambda one, now: looked.append(now) or goes_on(one, now))

    async def scenario(loop: Turned) -> None:
        talk = Talk(root, loop, wire, seed=1)
        voice, piece = json.dumps(QUIET), json.dumps({**AUDIO, "response_id": "r0", "item_id": "i0"})
        for text in (CREATED, READY, {"type": "response.created", "response": {"id": "r0"}}):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            talk.model.says(text if isinstance(text, str) else json.dumps(text))
        for answers in (True, False):
            began = loop.now
            while loop.now < began + 9.9:
                loop.now += 0.02
                talk.phone.says(voice)
                for _ in range(answers):
                    talk.model.says(piece)
                for text in (text for text in talk.phone.sent if '"mark"' in text):
                    talk.phone.says(text)
                talk.phone.sent.clear()
                await asyncio.sleep(0)
            told.append([at - began for at in woken if began + 5 < at < began + 9.9])
            looks.append([at for at in looked if began + 5 < at < began + 9.9])
        await talk.end()

    told: list[list[float]] = []
    looks: list[list[float]] = []
    with socket.socket() as wire, asyncio.Runner(loop_factory=Turned) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Turned)
        runner.run(scenario(loop))
    going_on, silent = told
    assert going_on == []
    assert silent
    assert looks[0]
    assert all((at + 1e-6) % TOGETHER < 0.02 + 2e-6 for at in looks[0])


# What it takes, and what it leaves to Python.

PAYLOAD = base64.b64encode(b"\x50" * 160).decode()
PLACE = len(PAYLOAD)


def caller(most: int = 1000, **other: Any) -> CallerPasses:
    """The caller's frames may pass, into a ring of ten."""
    settled = {"speaking": True, "listens": True, "quiet": 0, "loud": 0, "look": 5, "rest": 3, "voice": 2}
    return CallerPasses(0, bytearray(10 * PLACE), 0, PLACE, most, **{**settled, **other})


ANSWER = AnswerPasses(
    "r", "i", index=1, ends_at=100.1, lead=0.4, audible=0.02, mark_every=200.0,
    sent=400.0, marked=400.0, heard=200.0, heard_at=99.9, marks=(400.0,),
)  # fmt: skip
NOW = 100.0


@dataclass
class Ends:
    """A lane with its ends, and what it sends to either side."""

    lane: Any
    phone_end: Any
    model_end: Any
    to_phone: list[str]
    to_model: list[str]
    phone: Any

    def from_phone(self, message: str | bytes, now: float = NOW) -> bool:
        return bool(
            self.lane.offer_from_phone(message if isinstance(message, bytes) else message.encode(), now)
        )

    def from_model(self, message: str | bytes, now: float = NOW) -> bool:
        return bool(
            self.lane.offer_from_model(message if isinstance(message, bytes) else message.encode(), now)
        )

    @property
    def sent(self) -> list[str]:
        return self.to_phone + self.to_model


@pytest.fixture
def ends() -> Iterator[Ends]:
    if native.Lane is None:
        pytest.skip("there is no C compiler here, so no lane")
    with asyncio.Runner() as runner, socket.socket() as wire:
        loop, log = runner.get_loop(), logging.Logger("test", logging.CRITICAL)
        texts: tuple[list[str], list[str]] = ([], [])
        drains = [Drain(one, wire) for one in texts]
        transports = [picows.WSTransport(False, drain, log, loop) for drain in drains]
        phone_end, model_end = native.Listener(), native.Listener()
        lane = native.Lane(
            phone_end, transports[0], model_end, transports[1], Piece(*model.PIECE),
            model.append("\0"), phone.media("MZ1", "\0"), phone.mark("MZ1", "\0"),
        )  # fmt: skip
        lane.start(caller(), ANSWER)
        yield Ends(lane, phone_end, model_end, *texts, transports[0])


def media(payload: str = PAYLOAD, timestamp: str = '"20"', more: str = "") -> str:
    return f'{{"event":"media",{more}"media":{{"payload":"{payload}","timestamp":{timestamp}}}}}'


def delta(payload: str = PAYLOAD, response: str = "r", item: str = "i", more: str = "") -> str:
    return json.dumps({"type": model.PIECE[1], "response_id": response, "item_id": item, "delta": payload})[
        :-1
    ] + (f"{more}}}")


@pytest.mark.parametrize(
    "message",
    [
        media(),
        media(more='"sequenceNumber":"4","streamSid":"MZ1",'),
        media().replace(":", " : ").replace(",", "\n,\t") + "\r\n ",
        media(timestamp='"0"'),
        media(timestamp='"999999999"'),
        media(more='"x":17,"y":0,"":"",'),
    ],
)
def test_a_frame_of_the_callers_passes(message: str, ends: Ends) -> None:
    assert ends.from_phone(message)
    decoded = phone.decode(message)
    assert isinstance(decoded, phone.Media)
    assert ends.to_model == [model.append(decoded.payload)]
    assert ends.to_phone == []
    what = ends.lane.stop().caller
    assert (what.count, what.frame_at) == (1, NOW)


@pytest.mark.parametrize(
    "message",
    [
        *(
            media(payload)
            for payload in ("", "AAA", "A===", "AA=A", "=AAA", "AAA\\u0041", "AAA!", "AAA\x00", "AAAé")
        ),
        *(media("A" * 224), media("A" * 4100), media("\\")),
        *(
            media(timestamp=wrong)
            for wrong in ('"-1"', '"1000000000"', '"01"', '"1.5"', '""', '" 1"', "20", "null")
        ),
        *(
            media(more=wrong)
            for wrong in ('"event":"media",', '"media":{},', '"x":{},', '"x":[],', '"x":null,')
        ),
        *(
            media(more=wrong)
            for wrong in ('"x":01,', '"x":1.5,', '"x":-1,', '"x":"\\n",', '"x":"\t",', '"x":"é",')
        ),
        media().replace('"timestamp"', '"time"'),
        media().replace('"payload"', '"x"'),
        media().replace('"event":"media"', '"event":"dtmf"'),
        media().replace('"event":"media",', ""),
        f'{{"event":"media","payload":"{PAYLOAD}","timestamp":"20","media":{{"track":"inbound"}}}}',
        '{"event":"mark","name":"1:400","mark":{"x":"y"}}',
        f'{{"event":"media","media":{{"x":{{"payload":"{PAYLOAD}","timestamp":"20"}}}}}}',
        media() + "x",
        "x" + media(),
        media()[:-1] + ",}",
        '{"event":"mark","mark":{"name":"1:401"}}',
        '{"event":"mark","mark":{"name":"1:400","x":{}}}',
        '{"event":"mark","mark":{}}',
        '{"event":"media","mark":{"name":"1:400"}}',
        media(more='"mark":{"name":"1:400"},'),
        '{"event":"stop","stop":{}}',
        "[]",
        '""',
        "",
    ],
)
def test_what_else_the_phone_says_does_not(message: str, ends: Ends) -> None:
    assert not ends.from_phone(message)
    assert ends.sent == []
    assert ends.lane.stop().caller.count == 0


def test_no_part_of_a_frame_passes(ends: Ends) -> None:
    """Nor one with a letter of another kind, wherever it is."""
    for whole, offer in ((media().encode(), ends.from_phone), (delta().encode(), ends.from_model)):
        for at in range(len(whole)):
            assert not offer(whole[:at])
            for octet in b'\xff\x00"':
                changed = whole[:at] + bytes([octet]) + whole[at + 1 :]
                assert changed == whole or not offer(changed), changed
    assert ends.sent == []


def test_a_piece_of_the_answer_passes_and_its_mark_comes_back(ends: Ends) -> None:
    """A mark behind each fifth of a second, named as Python names it; what was heard is what came back."""
    for number in range(10):
        assert ends.from_model(delta(), NOW + 0.02 * number)
    sent = [phone.media("MZ1", PAYLOAD)] * 10 + [phone.mark("MZ1", "1:600")]
    assert ends.to_phone == sent
    assert ends.phone.underlying_transport.writes == 10  # a mark goes with its piece
    assert ends.from_phone('{"event":"mark","sequenceNumber":"9","mark":{"name":"1:400"}}', 100.3)
    assert not ends.from_phone('{"event":"mark","mark":{"name":"1:400"}}', 100.3)
    answer = ends.lane.stop().answer
    assert (answer.sent, answer.marked, answer.heard, answer.heard_at) == (600.0, 600.0, 400.0, 100.3)
    assert (answer.marks, round(answer.ends_at, 6), answer.piece_at) == ([600.0], 100.3, NOW + 0.18)


def test_nothing_goes_to_a_phone_behind_our_close_frame(ends: Ends) -> None:
    ends.phone.send_close(picows.WSCloseCode.OK)
    assert ends.from_model(delta())
    assert ends.to_phone == []


def test_only_a_servers_socket_is_taken_for_a_phones(ends: Ends) -> None:
    """What goes to a phone is not masked."""
    with socket.socket() as wire, asyncio.Runner() as runner:
        log = logging.Logger("test", logging.CRITICAL)
        client = picows.WSTransport(True, Drain([], wire), log, runner.get_loop())
        with pytest.raises(ValueError, match="server's side"):
            native.Lane(
                ends.phone_end, client, ends.model_end, ends.phone, Piece(*model.PIECE),
                model.append("\0"), phone.media("MZ1", "\0"), phone.mark("MZ1", "\0"),
            )  # fmt: skip


def test_a_mark_comes_back_once(ends: Ends) -> None:
    assert ends.from_phone('{"event":"mark","mark":{"name":"1:400"}}')
    assert not ends.from_phone('{"event":"mark","mark":{"name":"1:400"}}')
    assert not ends.from_phone('{"event":"mark","mark":{"name":"1:0"}}')


def test_only_so_many_marks_are_out(ends: Ends) -> None:
    """More of them are the session's: a phone that returns none."""
    many = tuple(float(number) for number in range(31))
    ends.lane.start(None, structs.replace(ANSWER, marks=many))
    assert [ends.from_model(delta(base64.b64encode(b"\x50" * 1600).decode()), now) for now in (100.0, 100.2)] == [
        True, False,
    ]  # fmt: skip
    ends.lane.start(None, structs.replace(ANSWER, marks=(*many, 31.0)))
    assert not ends.from_model(delta())


@pytest.mark.parametrize(
    ("message", "now"),
    [
        (delta(response="q"), NOW),
        (delta(item="j"), NOW),
        (delta(more=',"item_id":"i"'), NOW),
        (delta().replace("output_audio", "output_text"), NOW),
        (delta().replace('"item_id": "i", ', ""), NOW),
        (delta("AAA"), NOW),
        (delta("AA\\u0041A"), NOW),
        (delta(), 99.6),  # it would be too early
        (delta(), 100.12),  # a gap was heard before it
        ('{"type":"response.done","response":{"id":"r","status":"completed"}}', NOW),
    ],
)
def test_what_else_the_model_says_does_not(message: str, now: float, ends: Ends) -> None:
    assert not ends.from_model(message, now)
    assert ends.sent == []


def test_a_side_that_takes_nothing_gets_nothing(ends: Ends) -> None:
    ends.phone_end.strained = ends.model_end.strained = True
    assert not ends.from_model(delta())
    assert not ends.from_phone(media())
    assert ends.sent == []


def test_the_session_hears_of_silence_and_of_speech(ends: Ends) -> None:
    """The look with which a turn must be over, or speech must have been noticed, is the session's own."""
    quiet, voice = (base64.b64encode(octet * 160).decode() for octet in (b"\xff", b"\x20"))
    assert [ends.from_phone(media(quiet)) for _ in range(15)] == [True] * 14 + [False]
    ends.lane.start(caller(speaking=False), None)
    assert [ends.from_phone(media(voice)) for _ in range(10)] == [True] * 9 + [False]
    ends.lane.start(caller(speaking=False, listens=False), None)
    assert all(ends.from_phone(media(voice)) for _ in range(20))
    assert not ends.from_model(delta())


def test_the_last_frames_are_kept_for_the_session(ends: Ends) -> None:
    """In its ring; and no more pass than it said."""
    payloads = [base64.b64encode(b"%03d" % number + b"\x50" * 157).decode() for number in range(23)]
    unbounded = caller(speaking=False, listens=False)
    ends.lane.start(unbounded, None)
    assert all(ends.from_phone(media(payload)) for payload in payloads)
    assert ends.lane.stop().caller.count == 23
    assert unbounded.ring.decode() == "".join(payloads[20:23] + payloads[13:20])
    ends.lane.start(caller(9, speaking=False, listens=False), None)
    assert [ends.from_phone(media(payload)) for payload in payloads] == [True] * 9 + [False] * 14
    assert ends.lane.stop().caller.count == 9
    assert ends.lane.stop() is None
    assert not ends.from_phone(media())


def test_what_passed_is_told_once_while_more_passes(ends: Ends) -> None:
    """And no more pass in all than the session said."""
    ends.lane.start(caller(9, speaking=False, listens=False), ANSWER)
    assert [ends.from_phone(media()) for _ in range(4)] == [True] * 4
    assert ends.from_model(delta())
    told = ends.lane.tell()
    assert (told.caller.count, told.answer.piece_at, told.answer.sent) == (4, NOW, 420.0)
    told = ends.lane.tell()
    assert (told.caller.count, told.answer.piece_at, told.answer.sent) == (0, 0.0, 420.0)
    assert [ends.from_phone(media()) for _ in range(9)] == [True] * 5 + [False] * 4
    assert ends.lane.stop().caller.count == 5
    assert ends.lane.tell() is None


@pytest.mark.parametrize(("at", "place"), [(-1, 216), (10 * 216 - 215, 216), (0, 0), (0, 10 * 216 + 1)])
def test_a_place_outside_the_ring_is_refused(at: int, place: int, ends: Ends) -> None:
    with pytest.raises(ValueError, match="within the ring"):
        ends.lane.start(structs.replace(caller(), at=at, place=place), None)
    assert not ends.from_phone(media())


@here
@pytest.mark.parametrize(
    "wrong",
    [
        [(TEXT, b"a", False), (TEXT, media().encode())],  # in a message that is not whole yet
        [(TEXT, media().encode(), True, 4)],  # with a reserved bit
        [(TEXT, media().encode(), True, 1)],
    ],
)
def test_the_rules_of_frames_hold_on_the_lane(wrong: list[Any]) -> None:
    """What no peer may send does not pass, and closes the connection as everywhere."""

    async def scenario(lane: Passage, phone_peer: Peer, model_peer: Peer, socket: Socket) -> None:
        phone_peer.send(Case(wrong))
        kind, reason = await phone_peer.frame()
        assert (kind, reason[:2]) == (CLOSE, struct.pack("!H", 1002))
        assert passed(lane) == 1
        phone_peer.writer.close()

    linked(scenario)


@here
@pytest.mark.parametrize("cut", [40, len(media())])
def test_a_frame_in_fragments_goes_the_long_way(cut: int) -> None:
    """It is delivered whole, also where its first part is one by itself; and the next one passes again."""

    async def scenario(lane: Passage, phone_peer: Peer, model_peer: Peer, socket: Socket) -> None:
        text = media().encode()
        phone_peer.send(Case([(TEXT, text[:cut], False), (CONTINUATION, text[cut:], True), (TEXT, text)]))
        assert await socket.receive() == media()
        assert await model_peer.frame() == (TEXT, model.append(PAYLOAD).encode())
        assert passed(lane) == 2

    linked(scenario)


@here
def test_only_texts_pass() -> None:
    async def scenario(lane: Passage, phone_peer: Peer, model_peer: Peer, socket: Socket) -> None:
        phone_peer.send(Case([(BINARY, media().encode())]))
        assert await socket.receive() == media().encode()
        assert passed(lane) == 1

    linked(scenario)


@here
def test_nothing_passes_behind_our_last_word() -> None:
    async def scenario(lane: Passage, phone_peer: Peer, model_peer: Peer, socket: Socket) -> None:
        socket._send_close(1000, "")
        phone_peer.send(Case([(TEXT, media().encode()), (CLOSE, close(1000))]))
        assert (await phone_peer.frame())[0] == CLOSE
        await ended(socket)
        assert passed(lane) == 1

    linked(scenario)


def passed(lane: Passage) -> int:
    what = lane.stop()
    assert what is not None
    assert what.caller is not None
    return what.caller.count


def linked(scenario: Callable[[Passage, Peer, Peer, Socket], Awaitable[None]]) -> None:
    """Two sockets with an open lane on which a frame has passed, and both of their other ends."""

    async def whole() -> None:
        async with phone_side("picows") as callers, model_side("picows") as upstream:
            async with callers() as (phone_peer, socket), upstream() as (model_peer, model_socket):
                texts = model.append("\0"), phone.media("MZ1", "\0"), phone.mark("MZ1", "\0")
                lane = socket.lane_to(model_socket, Piece(*model.PIECE), *texts)
                assert lane is not None
                lane.start(caller(), None)
                phone_peer.send(Case([(TEXT, media().encode())]))
                assert await model_peer.frame() == (TEXT, model.append(PAYLOAD).encode())
                await scenario(lane, phone_peer, model_peer, socket)
                socket.leave_lane()
                model_socket.leave_lane()

    run(whole)
