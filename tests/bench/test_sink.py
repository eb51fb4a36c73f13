"""The measuring end of media streams, with a real client on a real socket."""

from __future__ import annotations

import asyncio
import json

from websockets.asyncio.client import connect

from ops.bench.sink import Sink


def media(place_ms: int) -> str:
    return json.dumps({"event": "media", "media": {"timestamp": str(place_ms), "payload": ""}})


def test_frames_are_timed_and_missed() -> None:
    """Frames count from `measure` on; one that is left out between others is lost."""

    async def run() -> None:
        sink = Sink()
        await sink.open()
        async with connect(f"ws://127.0.0.1:{sink.port}/call") as phone:
            await phone.send(json.dumps({"event": "start", "streamSid": "MZ1"}))
            await phone.send(media(0))
            await (await phone.ping())
            assert sink.live == 1
            sink.measure()
            for place in (20, 40, 80):
                await phone.send(media(place))
            await (await phone.ping())
        (stream,) = sink.streams
        assert len(stream.offsets) == 3
        assert stream.lost == 1
        sink.rest()
        await sink.close()
        assert sink.live == 0

    asyncio.run(run())


def test_marks_are_timed_beside_the_computed_play_out() -> None:
    """A phone that returns a mark at once, before its audio was played, is early by all of it."""

    async def run() -> None:
        sink = Sink(bytes(8000))
        await sink.open()
        sink.measure()
        async with connect(f"ws://127.0.0.1:{sink.port}/call") as phone:
            await phone.send(json.dumps({"event": "start", "streamSid": "MZ1"}))
            texts = [json.loads(await phone.recv()) for _ in range(4)]
            assert [text["event"] for text in texts] == ["media", "mark"] * 2
            assert sink.marks_lost == 2
            await phone.send(json.dumps(texts[1]))
            await (await phone.ping())
        assert sink.marks_lost == 1
        (early,) = sink.echoes
        assert -200 <= early < -100  # 1600 samples are 200 ms
        sink.rest()
        await sink.close()

    asyncio.run(run())
