"""The Autobahn test suite against both sides of a call's sockets, where its program `wstest` can be had.

It runs on Python 2.7 alone (`pip install autobahntestsuite` there), so no set-up of ours brings it: with --long, and
`wstest` on the PATH, its cases run; the awkward frames of test_transports.py are of the same kinds and run always.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import picows
import pytest
import uvloop

from ops.apps.transports import Address, Closed, Socket, on_picows, on_websockets
from tests.apps.test_transports import LIBRARIES, connected, phone_port

PACKED = ["12.*", "13.*"]  # compression, which we never agree to
LONGER_THAN_A_PHONES = ["9.*"]  # of a phone we take 64 KiB, and close with 1009 after that
FITS = {"OK", "NON-STRICT", "INFORMATIONAL"}
STRICTER = {
    "picows": {"7.1.2"},  # two close frames in one packet: answered with 1002, for the second
    # A close frame between two fragments: answered with 1002. Megabytes in tens of thousands of fragments: refused.
    "websockets": {"7.1.5", *(f"9.{part}.{case}" for part in (3, 4) for case in (1, 2, 3))},
}


async def echo(socket: Socket) -> None:
    """Sends back what comes, as it came, until the other side closes."""
    with suppress(Closed):
        while True:
            message = await socket.receive()
            if isinstance(message, str):
                socket.send(message)
            elif isinstance(socket, on_picows.PicowsSocket):  # the program itself sends text alone
                socket._transport.send(picows.WSMsgType.BINARY, message)
            elif isinstance(socket, on_websockets.QueuedSocket):
                library = socket._write.__self__  # type: ignore[attr-defined]
                await (library.send_bytes if hasattr(library, "send_bytes") else library.send)(message)


class Echo:
    """A reception that lets everybody in."""

    def admit(self, peer: str, signatures: Sequence[str]) -> bool:
        return True

    async def attend(self, socket: Socket) -> None:
        await echo(socket)


@asynccontextmanager
async def wstest(folder: Path, mode: str, spec: dict[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The suite's program, with its reports in a folder."""
    path = folder / "spec.json"
    path.write_text(json.dumps({"options": {"failByDrop": False}, "outdir": str(folder), **spec}))
    argv = (shutil.which("wstest") or "wstest", "-m", mode, "-s", str(path), "-u", "0")
    process = await asyncio.create_subprocess_exec(*argv, cwd=folder, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def as_phone(library: str, folder: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The suite calls our public port."""
    async with phone_port(library, Echo()) as port:
        server = {"agent": library, "url": f"ws://127.0.0.1:{port}/call"}
        cases = {"cases": ["*"], "exclude-cases": PACKED + LONGER_THAN_A_PHONES, "exclude-agent-cases": {}}
        async with wstest(folder, "fuzzingclient", {"servers": [server], **cases}) as process:
            assert await process.wait() == 0


async def as_model(library: str, folder: Path, free_ports: Callable[[int], list[int]]) -> None:
    """We call the suite, as a call calls its model."""
    (port,) = free_ports(1)
    dial = on_picows.dial if library == "picows" else on_websockets.dial
    origin = f"ws://127.0.0.1:{port}"
    cases = {"cases": ["*"], "exclude-cases": PACKED, "exclude-agent-cases": {}}
    async with wstest(folder, "fuzzingserver", {"url": origin, **cases}):
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):
                    async with connected(port):
                        break
                await asyncio.sleep(0.05)
        counting = await dial(Address(f"{origin}/getCaseCount", {}, 5.0))
        count = int(await counting.receive())
        await counting.close()
        for number in range(1, count + 1):
            socket = await dial(Address(f"{origin}/runCase?case={number}&agent={library}", {}, 5.0))
            await echo(socket)
            await socket.close()
        reporting = await dial(Address(f"{origin}/updateReports?agent={library}", {}, 5.0))
        with suppress(Closed):
            await reporting.receive()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("side", [as_phone, as_model])
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_autobahn_cases(
    library: str,
    side: Callable[..., Any],
    tmp_path: Path,
    free_ports: Callable[[int], list[int]],
    request: pytest.FixtureRequest,
) -> None:
    """Every case of framing, pings, reserved bits, opcodes, fragments, UTF-8, closing and, for the model, of size:
    within what RFC 6455 asks for."""
    if not request.config.getoption("--long"):
        pytest.skip("runs with --long")
    if shutil.which("wstest") is None:
        pytest.skip("wstest is not on the PATH")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(side(library, tmp_path, free_ports))
    (found,) = json.loads((tmp_path / "index.json").read_text()).values()
    told = {
        name: (one["behavior"], one["behaviorClose"], one["remoteCloseCode"]) for name, one in found.items()
    }
    print(
        library,
        side.__name__,
        len(told),
        Counter(behaviour for behaviour, *_ in told.values()),
        file=sys.stderr,
    )
    assert len(told) > 200
    assert {name for name, (case, close, _) in told.items() if not {case, close} <= FITS} <= STRICTER[library]
