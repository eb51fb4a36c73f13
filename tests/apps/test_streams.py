"""What comes to a bridge, and what it makes of it: real sockets to a phone and to a model, both written here."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ops.apps.carrier import Carrier
from ops.apps.tools import Toolbox, tool
from ops.journal.hops import Hop
from ops.vendors.twilio import wire
from tests.apps.inside import inside, run
from tests.apps.test_bridge import FRAME, Model, close_code, new_call, next_event


def test_strangers_reach_nothing_upstream(root: Path) -> None:
    """No signature, wrong signature, no ticket, a ticket of another call, another account, another sound, no
    start: the model is never dialled."""

    async def scenario() -> None:
        async with inside(root) as one:
            url = f"ws://127.0.0.1:{one.port}/call"
            for headers in ({}, {"X-Twilio-Signature": wire.sign("other", url)}):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(url, additional_headers=headers, proxy=None)
                assert caught.value.response.status_code == 403
            mine, other = new_call(), new_call()
            ticket = await one.ticket(other)
            wrong = [
                one.start(mine, "nothing"),
                one.start(mine, ticket),
                one.start(other, ticket, accountSid="AC" + secrets.token_hex(16)),
                one.start(
                    other,
                    ticket,
                    mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
                ),
                '{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"AA=="}}',
                "garbage",
            ]
            for first in wrong:
                async with one.stream() as phone:
                    await phone.send(first)
                    assert await close_code(phone) == 1008, first
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                answer = await http.post(
                    f"{one.origin}/twiml", data={"CallSid": mine, "AccountSid": one.account}
                )
            assert (answer.status_code, answer.text) == (403, "")
            assert one.model.connections == 0

    run(scenario)


def test_a_ticket_is_good_for_one_stream(root: Path) -> None:
    """A second stream of a live call is refused, and so is the used ticket, and the ended call's webhook."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            ticket = await one.ticket(sid)
            async with one.stream() as phone:
                await phone.send(one.start(sid, ticket))
                assert await next_event(phone) == "media"
                fresh = await one.ticket(sid)  # Twilio repeats the webhook of a live call
                for shown in (ticket, fresh):
                    async with one.stream() as second:
                        await second.send(one.start(sid, shown))
                        assert await close_code(second) == 1008
                assert one.model.connections == 1
            await one.model.until(lambda: one.model.open == 0)
            assert (await one.webhook(sid)).status_code == 403

    run(scenario)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the journal would have been told."""
    return [record.event for record in caplog.records if hasattr(record, "event")]


def test_a_model_with_another_codec_is_refused(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An honest sentence instead of noise, a clear record, and no session of the model any more."""

    async def scenario() -> None:
        async with inside(root) as one:
            one.model.format = "audio/pcm"
            sid = new_call()
            async with one.talking(sid):
                await one.model.until(lambda: one.model.open == 0)
        assert "model.codec" in events(caplog)

    run(scenario)


def test_garbage_on_a_live_stream_is_survived(root: Path) -> None:
    """Malformed messages on the phone's socket do not end the call; an oversized one closes that socket only."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            async with one.talking(sid) as phone:
                for garbage in (
                    "", "{", "[" * 30_000, '{"event":"x"}', b"\x00\xff", '{"event":"mark"}', "null", "NaN",
                    '{"event":"media","media":{"timestamp":Infinity,"payload":"AA=="}}',
                    '{"event":"media","media":{"timestamp":' + "9" * 5000 + ',"payload":"AA=="}}',
                    '{"event":"media","media":{"timestamp":"-1","payload":"AA=="}}',
                    '{"event":"mark","mark":{"name":"\\ud800"}}', '{"event":"dtmf","dtmf":{"digit":{}}}',
                    '{"event":"stop","event":"x"}',
                ):  # fmt: skip
                    await phone.send(garbage)
                await phone.send('{"event":"media","media":{"timestamp":"0","payload":"' + FRAME + '"}}')
                await one.model.until(lambda: one.model.got[-1]["type"] == "input_audio_buffer.append")
                await phone.send("x" * 70_000)
                assert await close_code(phone) == 1009
            assert (await one.health()).status_code == 200

    run(scenario)


def test_garbage_from_the_model_is_survived(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Malformed and unknown events do not end the call: the caller still hears the agent."""

    async def scenario() -> None:
        async with inside(root) as one:
            one.model.greeting = ("", "{", "null", "[" * 30_000, '{"type":7}', '{"type":"new"}', b"\x00\xff",
                                  '{"type":"response.output_audio.delta"}', '{"type":"error"}')  # fmt: skip
            sid = new_call()
            async with one.talking(sid):
                pass
        assert "model.malformed" in events(caplog)

    run(scenario)


class Demanding(Model):
    """It calls a function that no agent has."""

    def answer(self) -> tuple[dict[str, Any], ...]:
        *before, done = super().answer()
        call = {
            "type": "function_call",
            "call_id": "c",
            "name": "run_shell",
            "arguments": '{"command": "id"}',
        }
        return *before, {"type": "response.output_item.done", "item": call}, done


def test_a_model_gets_no_tool_but_its_own(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it was talked into: it is told that there is none, and the journal that it asked."""

    def told(one: Model) -> list[str]:
        created = [event["item"] for event in one.got if event["type"] == "conversation.item.create"]
        return [item["output"] for item in created if item["type"] == "function_call_output"]

    async def scenario() -> None:
        async with inside(root, Demanding()) as one:
            sid = new_call()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await one.ticket(sid)))
                await one.model.until(lambda: bool(told(one.model)))
        assert "there is no tool called 'run_shell'" in told(one.model)[0]
        refused = [record for record in caplog.records if getattr(record, "event", "") == Hop.TOOL_RETURNED]
        assert [record.levelname for record in refused] == ["WARNING"]

    run(scenario)


def test_what_strangers_see(root: Path) -> None:
    """Through a tunnel only a bare health answers; metrics and the rest are 404 there and 200 on this machine."""

    async def scenario() -> None:
        async with inside(root) as one:
            assert (await one.health(**{"X-Forwarded-For": "192.0.2.1"})).json() == {"status": "ok"}
            assert (await one.health()).json()["public_url"] == one.origin
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                for path in ("/metrics", "/public-url", "/tools"):
                    assert (await http.get(one.origin + path)).status_code == 200
                    for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "voice.example.com"}):
                        assert (await http.get(one.origin + path, headers=headers)).status_code == 404
                assert (await http.get(f"{one.origin}/docs")).status_code == 404
                assert (await http.get(f"{one.origin}/twiml")).status_code == 405
                outside = {"X-Forwarded-For": "192.0.2.1"}
                for path in ("/health", "/metrics", "/twiml", "/nothing"):
                    answer = await http.get(one.origin + path, headers=outside)
                    assert "server" not in answer.headers, path  # nor which version of what serves
                    assert len(answer.text) < 30, path

    run(scenario)


def test_only_a_call_that_has_not_ended_comes_back(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that was lost is given another one by /resume, with the history; after the caller's stop, and after
    too many times, there is none."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            ticket = await one.ticket(sid)
            for again in range(6):
                async with one.stream() as phone:
                    await phone.send(one.start(sid, ticket))
                    assert await next_event(phone) == "media"
                    phone.transport.abort()
                twiml = ElementTree.fromstring((await one.webhook(sid, "/resume")).text)
                parameter = twiml.find(".//Parameter")
                if again == 5:
                    assert parameter is None
                    assert twiml.find("Hangup") is not None
                else:
                    assert parameter is not None
                    ticket = parameter.attrib["value"]
            over = new_call()
            async with one.talking(over) as phone:
                await phone.send('{"event":"stop"}')
                await close_code(phone)
            assert [
                child.tag for child in ElementTree.fromstring((await one.webhook(over, "/resume")).text)
            ] == ["Hangup"]
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:
                assert (await http.post(f"{one.origin}/resume", data={"CallSid": over})).status_code == 403
        assert events(caplog).count("stream.resumed") == 5

    run(scenario)


class Asking(Model):
    """It calls a tool whenever it is to speak."""

    def answer(self) -> tuple[dict[str, Any], ...]:
        *before, done = super().answer()
        wish = {"type": "function_call", "call_id": "c", "name": "lookup", "status": "completed"}
        wish["arguments"] = "{}"
        return *before, {"type": "response.output_item.done", "response_id": "r", "item": wish}, done


def test_a_stream_tells_what_a_tool_of_the_one_before_returned(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool ran when its stream was lost: it finishes, and is not run again."""
    monkeypatch.setattr("ops.apps.call.FINISHED_WITHIN", 4.0)
    runs, may_return = list[asyncio.Event](), asyncio.Event()

    @tool
    async def lookup() -> str:
        "Looks something up."
        runs.append(may_return)
        await may_return.wait()
        return "nine"

    async def scenario() -> None:
        async with inside(root, Asking()) as one:
            assert isinstance(one.carrier, Carrier)
            one.carrier._toolbox = Toolbox([lookup])
            sid = new_call()
            async with one.talking(sid) as phone:
                assert await next_event(phone) == "mark"  # it ends the answer: the tool was called before
                async with asyncio.timeout(20):
                    while not runs:
                        await asyncio.sleep(0.005)
                phone.transport.abort()
            coming_back = asyncio.create_task(one.ticket(sid, "/resume"))
            async with asyncio.timeout(20):
                while one.bridge.live[sid].reason is None:  # type: ignore[attr-defined]
                    await asyncio.sleep(0.005)
            may_return.set()
            async with one.stream() as phone:
                await phone.send(one.start(sid, await coming_back))
                assert await next_event(phone) == "media"
                (told,) = [event for event in one.model.got if "function_call_output" in str(event)]
                assert told["item"]["output"] == "nine"
                assert len(runs) == 1

    run(scenario)


def test_an_end_is_known_without_the_disk(root: Path) -> None:
    """Where no row could be written, a call whose end this bridge has seen is let go, too."""
    (root / "logs/run").mkdir(parents=True)
    (root / "logs/run/calls").write_text("no folder")

    async def scenario() -> None:
        async with inside(root) as one:
            over = new_call()
            async with one.talking(over) as phone:
                await phone.send('{"event":"stop"}')
                await close_code(phone)
            assert one.bridge.book.failing
            answer = ElementTree.fromstring((await one.webhook(over, "/resume")).text)
            assert [child.tag for child in answer] == ["Hangup"]

    run(scenario)


def test_one_call_may_have_settings_of_its_own(root: Path) -> None:
    """The query of the signed webhook sets voice and instructions for its call, and whether the agent greets."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            path = "/twiml?voice=cedar&instructions=Speak+Danish.&greeting=off"
            twiml = ElementTree.fromstring((await one.webhook(sid, path)).text)
            parameter = twiml.find(".//Parameter")
            assert parameter is not None
            async with one.stream() as phone:
                await phone.send(one.start(sid, parameter.attrib["value"]))
                await one.model.until(lambda: bool(one.model.got))
                session = one.model.got[0]["session"]
                assert session["instructions"] == "Speak Danish."
                assert session["audio"]["output"]["voice"] == "cedar"
                assert "hang_up" in [tool["name"] for tool in session["tools"]]
                media = {"event": "media", "streamSid": "MZ1", "media": {"timestamp": "0", "payload": FRAME}}
                await phone.send(json.dumps(media))
                await one.model.until(lambda: one.model.got[-1]["type"] == "input_audio_buffer.append")
                assert "response.create" not in [event["type"] for event in one.model.got]

    run(scenario)


def test_the_models_events_can_be_watched_on_this_machine(root: Path) -> None:
    """WS /logs shows every event of every call, without audio; not through a tunnel, not to another site's page."""

    async def scenario() -> None:
        async with inside(root) as one:
            url = f"ws://127.0.0.1:{one.port}/logs"
            for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Origin": "https://evil.example"}):
                with pytest.raises(InvalidStatus):
                    await connect(url, additional_headers=headers, proxy=None)
            async with connect(url, proxy=None) as watcher, one.stream() as phone:
                sid = new_call()
                await phone.send(one.start(sid, await one.ticket(sid)))
                kinds = []
                while "response.done" not in kinds:
                    event = json.loads(await asyncio.wait_for(watcher.recv(), 20))
                    assert event["call_sid"] == sid
                    kinds.append(event["type"])
                assert "session.updated" in kinds
                assert "response.output_audio.delta" not in kinds

    run(scenario)


def test_a_watcher_who_does_not_keep_up_costs_a_call_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loses some events of many, and the caller no word."""
    monkeypatch.setattr("ops.apps.views.BEHIND", 1)

    async def scenario() -> None:
        async with inside(root) as one, connect(f"ws://127.0.0.1:{one.port}/logs", proxy=None) as watcher:
            one.model.greeting = ('{"type":"new"}',) * 50
            sid = new_call()
            async with one.talking(sid):
                assert json.loads(await watcher.recv())["call_sid"] == sid

    run(scenario)
