"""HAProxy in front of the slots: its configuration, and a real one that cuts no call when slots change."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio import client as asyncio_client
from websockets.exceptions import InvalidMessage
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from ops.bench.bridge import certificate
from ops.remote import proxy
from ops.remote.proxy import Proxy, Server
from ops.remote.receiver.balancer import Balancer, _states
from ops.remote.receiver.files import Refusal

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(
    HAPROXY is None, reason="haproxy is not installed here (apt-get install haproxy)"
)
SLOTS = ("blue", "green")


@contextmanager
def slot(name: str, port: int) -> Iterator[None]:
    """A bridge's outside: /health, and a websocket that says which slot it is and echoes."""

    def health(_: ServerConnection, request: Any) -> Any:
        return _.respond(HTTPStatus.OK, "") if request.path == "/health" else None

    def answer(line: ServerConnection) -> None:
        line.send(name)
        for message in line:
            line.send(message)

    with serve(answer, "127.0.0.1", port, process_request=health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


class Site:
    """Two slots behind a running HAProxy."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.port, *self.ports = ports
        self.socket, self.config = str(folder / "s"), folder / "haproxy.cfg"
        self.balancer = Balancer(self.config)

    def text(self, in_force: str, **more: Any) -> str:
        servers = [
            Server(f"web1-{name}", "127.0.0.1", port, 100 if name == in_force else 0)
            for name, port in zip(SLOTS, self.ports, strict=True)
        ]
        return proxy.configuration(Proxy(port=self.port, **more), servers, self.socket, user="root")

    def lead_to(self, name: str, *, reload: bool = False, **more: Any) -> dict[str, Any]:
        """Without systemd here: a `reload` is the signal that its unit would send."""
        request = {"config": self.text(name, **more), "socket": self.socket, "ready": [f"web1-{name}"]}
        if reload:
            self.balancer._reload = lambda: self.master.send_signal(signal.SIGUSR2)  # type: ignore[attr-defined,method-assign]
        return self.balancer.balance(request)

    def call(self, path: str = "/call") -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}{path}", proxy=None, open_timeout=5)


@pytest.fixture
def site(tmp_path: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Site]:
    one = Site(tmp_path, free_ports(3))
    one.config.write_text(one.text("blue"))
    with ExitStack() as stack:
        for name, port in zip(SLOTS, one.ports, strict=True):
            stack.enter_context(slot(name, port))
        assert HAPROXY is not None
        master = stack.enter_context(
            subprocess.Popen([HAPROXY, "-W", "-f", one.config], stderr=subprocess.DEVNULL)
        )
        stack.callback(master.terminate)
        one.master = master  # type: ignore[attr-defined]
        until(lambda: set(states(one).values()) == {"UP"})
        yield one


def states(site: Site) -> dict[str, str]:
    try:
        return {name: state for name, state in _states(site.socket).items() if name.startswith("web1")}
    except OSError:
        return {}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(line: ClientConnection) -> bool:
    line.send("still there?")
    return line.recv(timeout=5) == "still there?"


def test_a_slot_change_and_a_reload_cut_no_call(site: Site) -> None:
    """Calls stay on the slot they have, new ones go to the new slot and none is refused, also across a reload;
    a stream that names the drained slot still reaches it."""
    with ExitStack() as calls:
        old = [calls.enter_context(site.call()) for _ in range(5)]
        assert {line.recv(timeout=5) for line in old} == {"blue"}
        assert site.lead_to("green") == {"reloaded": False, "told": ["web1-green=100", "web1-blue=0"]}
        new = [calls.enter_context(site.call()) for _ in range(5)]
        assert {line.recv(timeout=5) for line in new} == {"green"}
        late = calls.enter_context(site.call("/call/web1-blue"))
        assert late.recv(timeout=5) == "blue"
        assert site.balancer.weights({}) == {"weights": {"web1-blue": 0, "web1-green": 100}}

        before = site.config.stat().st_ino
        site.master.send_signal(signal.SIGUSR2)  # type: ignore[attr-defined]
        reloaded = [calls.enter_context(site.call()) for _ in range(20)]
        assert {line.recv(timeout=5) for line in reloaded} == {"green"}
        assert all(map(lives, (*old, *new, late)))
        assert site.config.stat().st_ino == before


def test_calls_come_in_by_tls(site: Site, tmp_path: Path) -> None:
    """With a certificate the door speaks TLS 1.2 or later and nothing else; webhook and websocket pass, and a
    slot changes under a live call."""
    trusted, _ = certificate.make(tmp_path, "127.0.0.1")
    pem = tmp_path / "site.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(trusted.read_bytes() + (tmp_path / "key.pem").read_bytes())
    trust = ssl.create_default_context(cafile=trusted)
    assert site.lead_to("blue", certificate=str(pem), reload=True)["reloaded"]

    def call() -> asyncio_client.connect:
        # of one thread: a TLS connection of OpenSSL is not for two that read and write at once
        url = f"wss://127.0.0.1:{site.port}/call"
        return asyncio_client.connect(url, ssl=trust, proxy=None, open_timeout=5)

    async def slot_of(line: asyncio_client.ClientConnection) -> object:
        return await asyncio.wait_for(line.recv(), 5)

    async def scenario() -> None:
        async with asyncio.timeout(10):
            while not await answers(call):
                await asyncio.sleep(0.02)
        async with call() as old:
            assert await slot_of(old) == "blue"
            version = old.transport.get_extra_info("ssl_object").version()
            assert version in ("TLSv1.2", "TLSv1.3")
            assert site.lead_to("green", certificate=str(pem))["reloaded"] is False
            async with call() as new:
                assert await slot_of(new) == "green"
            await old.send("still there?")
            assert await slot_of(old) == "still there?"
            with pytest.raises((InvalidMessage, ConnectionError, EOFError)):
                site.call()

    asyncio.run(scenario())


async def answers(call: Callable[[], asyncio_client.connect]) -> bool:
    try:
        async with call() as line:
            return bool(await asyncio.wait_for(line.recv(), 5))
    except (OSError, EOFError, InvalidMessage):
        return False


def test_a_slot_that_is_not_up_gets_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weight is not raised before its health check is through; file and running proxy stay as they were."""
    monkeypatch.setattr("ops.remote.receiver.balancer.UP_WITHIN", 0.3)
    before = site.config.read_text()
    request = {"config": site.text("green"), "socket": site.socket, "ready": ["web1-amber"]}
    with pytest.raises(Refusal, match="does not see web1-amber up"):
        site.balancer.balance(request)
    assert site.config.read_text() == before
    with site.call() as line:
        assert line.recv(timeout=5) == "blue"


def test_what_haproxy_does_not_take_never_counts(site: Site) -> None:
    """The present configuration stays, and the refusal says what HAProxy said."""
    before = site.config.read_text()
    request = {"config": "global\n    nonsense\n", "socket": site.socket, "ready": []}
    with pytest.raises(Refusal, match="nonsense"):
        site.balancer.balance(request)
    assert site.config.read_text() == before


PAYLOADS = [
    "x\n    bind :1",
    "a b",
    "%x",
    '"x"',
    "$(x)",
    "`x`",
    "a;b",
    "a#b",
    "..",
    "",
    "\x00",
    "ü",
    "{x}",
    "a/b",
    "-x",
    "a\r",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_gets_out_of_its_line(payload: str) -> None:
    """Names, addresses and the rows of [proxy] are what they should be, or there is no configuration."""
    for server in (Server(payload, "10.0.0.1", 1, 0), Server("ok", payload, 1, 0)):
        if server.address != payload or not proxy.ADDRESS.fullmatch(payload):
            with pytest.raises(ValueError, match="expected a server's name and address"):
                proxy.configuration(Proxy(), [server])
    for key in ("port", "certificate", "max_calls", "drain_hours"):
        found, faults = proxy.read({"proxy": {key: payload}})
        assert found is None
        assert len(faults) == 1
    assert proxy.read({"proxy": {payload: 1}})[1]
