"""The agent's API on its port."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ops.vendors.ngrok.simulator.agent import Agent
from ops.vendors.ngrok.simulator.faults import Faults
from tests.vendors.ngrok.simulator.rig import agent, exchange, hello, service


@asynccontextmanager
async def _running() -> AsyncIterator[tuple[Agent, httpx.AsyncClient]]:
    async with service(hello) as port, agent(port) as running:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}/api") as http:
            yield running, http


def test_the_tunnel_and_its_metrics() -> None:
    """GET /api/tunnels in ngrok's shape; metrics count connections and requests."""

    async def go() -> None:
        async with _running() as (running, http):
            edge = running.edges["command_line"]
            await http.get(edge.public_url)
            listed = (await http.get("/tunnels")).json()
            assert listed["uri"] == "/api/tunnels"
            [tunnel] = listed["tunnels"]
            assert tunnel["public_url"] == f"http://127.0.0.1:{edge.port}"
            assert tunnel["config"] == {"addr": f"http://127.0.0.1:{edge.upstream[1]}", "inspect": True}
            assert tunnel["metrics"]["http"]["count"] == 1
            assert tunnel["metrics"]["http"]["p99"] > 0
            assert {"count", "gauge", "rate1", "rate5", "rate15", "p50", "p90", "p95", "p99"} == set(
                tunnel["metrics"]["conns"]
            )
            assert (await http.get("/tunnels/command_line")).json()["name"] == "command_line"

    asyncio.run(go())


def test_tunnels_start_and_stop() -> None:
    """201 with its own address, 204 when it stops, and then its port is closed."""

    async def go() -> None:
        async with _running() as (running, http):
            addr = running.edges["command_line"].upstream[1]
            made = await http.post("/tunnels", json={"name": "second", "addr": addr, "proto": "http"})
            assert made.status_code == 201
            url = made.json()["public_url"]
            assert (await http.get(url)).text == "hello"
            again = await http.post("/tunnels", json={"name": "second", "addr": addr, "proto": "http"})
            assert again.status_code == 502
            assert "ERR_NGROK_334" in again.json()["details"]["err"]
            assert (await http.delete("/tunnels/second")).status_code == 204
            missing = await http.get("/tunnels/second")
            assert (missing.status_code, missing.json()["msg"]) == (404, "tunnel not found")
            async with httpx.AsyncClient() as fresh:
                try:
                    await fresh.get(url)
                except httpx.ConnectError:
                    return
            raise AssertionError("the tunnel still answers")

    asyncio.run(go())


def test_requests_are_captured_replayed_and_cleared() -> None:
    """The newest first with headers as lists and raw in base64; replay sends it again."""

    async def go() -> None:
        async with _running() as (running, http):
            edge = running.edges["command_line"]
            await http.post(f"{edge.public_url}/twiml?a=1", content=b"CallSid=CA1")
            await http.get(f"{edge.public_url}/last")
            listed = (await http.get("/requests/http", params={"limit": 1})).json()["requests"]
            assert [entry["request"]["uri"] for entry in listed] == ["/last"]
            entry = (await http.get("/requests/http")).json()["requests"][1]
            assert entry["request"]["method"] == "POST"
            assert entry["request"]["headers"]["Content-Length"] == ["11"]
            assert base64.b64decode(entry["request"]["raw"]).endswith(b"\r\n\r\nCallSid=CA1")
            assert entry["response"]["status_code"] == 200
            assert entry["duration"] > 0
            assert (await http.get(f"/requests/http/{entry['id']}")).json() == entry
            assert (await http.post("/requests/http", json={"id": entry["id"]})).status_code == 204
            replayed = (await http.get("/requests/http")).json()["requests"]
            assert [each["request"]["uri"] for each in replayed] == ["/twiml?a=1", "/last", "/twiml?a=1"]
            assert (await http.delete("/requests/http")).status_code == 204
            assert (await http.get("/requests/http")).json()["requests"] == []
            assert (await http.get("/requests/http/airt_nobody")).status_code == 404

    asyncio.run(go())


def test_status() -> None:
    """Online, with a version and a session."""

    async def go() -> None:
        async with _running() as (_, http):
            status = (await http.get("/status")).json()
            assert status["status"] == "online"
            assert status["session"]["legs"][0]["region"]

    asyncio.run(go())


def test_the_api_tells_what_is_not_so_on_request() -> None:
    """Another local port, an inspected tunnel, a lost session: each once."""

    async def go() -> None:
        async with _running() as (running, http):
            edge = running.edges["command_line"]
            edge.inspect = False
            own = f"http://127.0.0.1:{edge.upstream[1]}"

            async def config() -> dict[str, Any]:
                [tunnel] = (await http.get("/tunnels")).json()["tunnels"]
                return dict(tunnel["config"])

            running.faults.arm("elsewhere", port=9)
            assert (await config())["addr"] == "http://127.0.0.1:9"
            running.faults.arm("inspected")
            assert await config() == {"addr": own, "inspect": True}
            assert await config() == {"addr": own, "inspect": False}
            running.faults.arm("lost-session")
            lost = (await http.get("/status")).json()
            assert (lost["status"], lost["session"]["legs"]) == ("reconnecting", [])
            assert (await http.get("/status")).json()["status"] == "online"

    asyncio.run(go())


def test_bad_requests_have_the_apis_error_shape() -> None:
    """error_code, status_code, msg and details.err."""

    async def go() -> None:
        async with _running() as (running, http):
            for answer, status in (
                (await http.get("/nothing"), 404),
                (await http.post("/tunnels", content=b"{"), 400),
                (await http.post("/tunnels", json={"addr": "example.org:80"}), 400),
                (await http.post("/tunnels", json={"addr": 0}), 400),
                (await http.get("/requests/http", params={"limit": "many"}), 400),
            ):
                assert answer.status_code == answer.json()["status_code"] == status
                assert answer.json()["details"]["err"]
            assert (await http.post("/tunnels", content=b"x" * (2 << 20))).status_code == 413
            rebound = await exchange(
                running.port, b"GET /api/tunnels HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
            )
            assert rebound.startswith(b"HTTP/1.1 403 ")

    asyncio.run(go())


def test_a_second_agent_takes_the_next_port() -> None:
    """Where the first one listens already."""

    async def go() -> None:
        async with _running() as (running, _):
            second = Agent(Faults())
            await second.open(running.port)
            assert running.port < second.port < running.port + 20
            await second.close()

    asyncio.run(go())


def test_the_public_url_can_change() -> None:
    """The tunnel comes back under another address; the old one says that it is offline."""

    async def go() -> None:
        async with _running() as (running, http):
            old = running.edges["command_line"].public_url
            base = f"http://127.0.0.1:{running.port}/_sim/faults"
            assert (await http.post(base, json={"name": "changed-url"})).status_code == 201
            [tunnel] = (await http.get("/tunnels")).json()["tunnels"]
            assert tunnel["public_url"] != old
            assert (await http.get(tunnel["public_url"])).text == "hello"
            gone = await http.get(old)
            assert (gone.status_code, gone.headers["ngrok-error-code"]) == (404, "ERR_NGROK_3200")
            wrong = await http.post(base, json={"name": "explode"})
            assert wrong.status_code == 400
            assert "changed-url" in wrong.json()["details"]["err"]
            await http.post(base, json={"name": "offline", "times": 3})
            assert (await http.get(base)).json()["armed"][0]["times"] == 3
            await http.delete(base)
            assert (await http.get(base)).json()["armed"] == []

    asyncio.run(go())
