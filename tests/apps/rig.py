"""A bridge with both simulators, as processes on ports of their own: for calls that go wrong."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

REPOSITORY = Path(__file__).parents[2]
AGENT, CALLER, COLLEAGUE = "+12025550100", "+12025550123", "+12025550142"
HOURS = (
    {"do": "listen", "quiet_ms": 500, "timeout_ms": 15_000},
    {"do": "say", "line": "caller-hours"},
    {"do": "listen", "quiet_ms": 700, "timeout_ms": 15_000},
)  # fmt: skip


@dataclass
class Rig:
    """The addresses of a running stack, and its processes."""

    root: Path
    bridge: str
    twilio: str
    openai: str
    http: httpx.AsyncClient
    processes: dict[str, asyncio.subprocess.Process]

    async def fault(self, where: str, name: str, times: int = 1, **numbers: float) -> None:
        answer = await self.http.post(f"{where}/_sim/faults", json={"name": name, "times": times, **numbers})
        assert answer.status_code < 300, answer.text

    async def dial(self, *steps: dict[str, Any]) -> str:
        """A caller rings the agent; the SID of the call."""
        order = {"from": CALLER, "to": AGENT, "steps": [*steps, {"do": "hang-up"}]}
        answer = await self.http.post(f"{self.twilio}/_sim/dial", json=order)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["call_sid"])

    async def phone(self, sid: str) -> dict[str, Any]:
        """The phone's own view of a call."""
        found: dict[str, Any] = (await self.http.get(f"{self.twilio}/_sim/calls/{sid}")).json()
        return found

    async def over(self, sid: str, seconds: float = 40) -> dict[str, Any]:
        """The phone's view of a call when it is over; every step of its script was done."""
        await until(lambda: self._over(sid), seconds)
        return await self.phone(sid)

    async def _over(self, sid: str) -> bool:
        view = await self.phone(sid)
        return bool(view["status"] in ("completed", "failed", "busy", "no-answer", "canceled"))

    async def seen(self, sid: str, event: str, count: int = 1, seconds: float = 20) -> None:
        """Until the call's journal has so many records of an event."""

        async def there() -> bool:
            return self.events(sid).count(event) >= count

        await until(there, seconds)

    def journal(self, sid: str) -> list[dict[str, Any]]:
        import json

        path = self.root / "logs/calls" / sid / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, sid: str) -> list[str]:
        return [record["event"] for record in self.journal(sid)]

    def said(self, sid: str) -> list[str]:
        return [record["text"] for record in self.journal(sid) if record["event"].startswith("transcript.")]

    async def upstream(self) -> list[dict[str, Any]]:
        """The model's sessions that are still open."""
        found = (await self.http.get(f"{self.openai}/_sim/sessions")).json()
        return [one for one in found["sessions"] if one.get("live") or one.get("ended") is False]

    def worker(self) -> psutil.Process:
        """The process that holds the callers' sockets."""
        (child,) = psutil.Process(self.processes["bridge"].pid).children()
        return child


async def until(what: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def rig(root: Path, ports: list[int], *openai_options: str, **settings: str) -> AsyncIterator[Rig]:
    """A stack that answers; everything of it is gone afterwards."""
    bridge, twilio, openai = ports
    environ = {
        "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"],
        "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "TWILIO_PHONE_NUMBER": AGENT, "OPENAI_API_KEY": "sk-" + secrets.token_hex(16),
        "TWILIO_API_URL": f"http://127.0.0.1:{twilio}", "PUBLIC_URL": f"http://127.0.0.1:{bridge}",
        "OPENAI_REALTIME_URL": f"ws://127.0.0.1:{openai}/v1/realtime", "WEBSOCKET_PORT": str(bridge),
        "RETRY_INTERVAL": "0.2", **settings,
    }  # fmt: skip
    programs = {
        "twilio": (
            "ops.vendors.twilio.simulator", f"--port={twilio}",
            f"--voice-url=http://127.0.0.1:{bridge}/twiml",
        ),
        "openai": ("ops.vendors.openai.simulator", f"--port={openai}", *openai_options),
        "bridge": ("ops.apps.keeper",),
    }  # fmt: skip
    processes = {
        name: await asyncio.create_subprocess_exec(sys.executable, "-m", *argv, cwd=root, env=environ)
        for name, argv in programs.items()
    }
    # A connection that the server closes just now, as it does after five idle seconds, would break a request.
    limits = httpx.Limits(keepalive_expiry=1.0)
    async with httpx.AsyncClient(trust_env=False, verify=False, limits=limits) as http:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        one = Rig(root, *urls, http, processes)
        try:
            for url in urls:
                await until(lambda url=url: _answers(http, url), 20)  # type: ignore[misc]
            yield one
        finally:
            for process in processes.values():
                if process.returncode is None:
                    process.terminate()
            await asyncio.sleep(0.3)
            for process in processes.values():
                if process.returncode is None:
                    process.terminate()  # do not wait for calls
                try:
                    await asyncio.wait_for(process.wait(), 8)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health")).status_code == 200
    except httpx.TransportError:
        return False
