"""Real calls through both simulators while something fails: nobody is dropped, nobody hears silence for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.apps.rig import COLLEAGUE, HOURS, Rig, rig

PATIENT = {"do": "listen", "quiet_ms": 2500, "timeout_ms": 15_000}
ANSWER = "Yes, from nine to five."


def done(view: dict[str, Any]) -> bool:
    """Whether the phone's script ran to its end."""
    return view["status"] == "completed" and all(step["done"] for step in view["steps"])


def at(one: Rig, sid: str, event: str) -> float:
    record = next(record for record in one.journal(sid) if record["event"] == event)
    return datetime.fromisoformat(record["ts"]).timestamp()


def test_what_the_model_does_wrong_is_mended(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """Five calls at once, each with a fault of its own: reset, stall, expiry, no quota, and one who wants a human."""

    async def scenario() -> None:
        async with rig(root, free_ports(3), TWILIO_AGENT_NUMBER=COLLEAGUE) as one:
            human = await one.dial(
                HOURS[0],
                {"do": "say", "line": "caller-human"},
                {"do": "listen", "quiet_ms": 2500, "timeout_ms": 15_000},
            )
            await one.seen(human, "model.ready")
            calls: dict[str, str] = {}
            faults: dict[str, dict[str, float]] = {
                "reset": {"after_events": 28}, "stall": {"after_events": 28, "seconds": 30},
                "expired-session": {"after": 3}, "no-quota": {},
            }  # fmt: skip
            for name, numbers in faults.items():
                await one.fault(one.openai, name, **numbers)
                patience = {
                    "do": "listen",
                    "quiet_ms": 3800 if name == "stall" else 700,
                    "timeout_ms": 15_000,
                }
                calls[name] = await one.dial(*HOURS[:2], patience)
                reached = "model.given-up" if name == "no-quota" else "model.ready"
                await one.seen(calls[name], reached)
            views = {name: await one.over(sid) for name, sid in calls.items()}
            for name in ("reset", "stall", "expired-session"):
                assert done(views[name]), (name, views[name]["steps"], one.events(calls[name]))
                assert ANSWER in one.said(calls[name]), name
            assert "model.lost" in one.events(calls["reset"])
            stalled = calls["stall"]
            silent = at(one, stalled, "caller.speech-stopped")
            assert silent < at(one, stalled, "agent.filler") < at(one, stalled, "model.lost") < silent + 15
            # No quota: connected to the colleague at once, not retried.
            assert "call.transfer" in one.events(calls["no-quota"])
            assert one.events(calls["no-quota"]).count("model.lost") == 1
            await one.over(human)
            assert "tool.called" in one.events(human)
            await one.seen(human, "call.ended")
            assert one.journal(human)[-1].get("reason", "transferred").endswith("transferred")
            asked = (await one.http.get(f"{one.twilio}/_sim/requests")).json()["requests"]
            assert COLLEAGUE in str(asked)
            assert await one.upstream() == []

    asyncio.run(scenario())


def test_calls_outlive_the_bridge(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """kill -9 of the process that holds the callers' sockets: every call comes back and goes on with its
    history, and a call that has ended does not come back."""

    async def scenario() -> None:
        async with rig(root, free_ports(3)) as one:
            over = await one.dial({"do": "listen", "quiet_ms": 300, "timeout_ms": 9000})
            calls = [await one.dial(*HOURS[:2], PATIENT, *HOURS[1:]) for _ in range(3)]
            await one.over(over)
            for sid in calls:
                await one.seen(sid, "turn.answered")
            one.worker().kill()
            for sid in calls:
                await one.seen(sid, "stream.resumed")
            for view in [await one.over(sid) for sid in calls]:
                assert done(view), view["steps"]
            for sid in calls:
                resumed = next(r for r in one.journal(sid) if r["event"] == "stream.resumed")
                assert resumed["entries"] >= 2
                assert [r["turn"] for r in one.journal(sid) if r["event"] == "turn.answered"] == [0, 1]
                assert one.said(sid).count(ANSWER) >= 2  # cut off and said again, then the second one
            assert "stream.resumed" not in one.events(over)
            book = root / "logs/run/calls"
            assert book.stat().st_mode & 0o077 == 0
            assert all(path.stat().st_mode & 0o077 == 0 for path in book.iterdir())

    asyncio.run(scenario())


def test_a_lost_stream_comes_back(root: Path, free_ports: Callable[[int], list[int]]) -> None:
    """The phone's socket is cut: the same bridge takes the call up again; where Twilio ends such calls instead,
    nothing of it is left open."""

    async def scenario() -> None:
        async with rig(root, free_ports(3)) as one:
            await one.fault(one.twilio, "stream-reset", ms=2500)
            sid = await one.dial(*HOURS)
            assert done(await one.over(sid))
            assert "stream.resumed" in one.events(sid)
            setting = {"resume_after_loss": False}
            assert (await one.http.put(f"{one.twilio}/_sim/account", json=setting)).status_code < 300
            await one.fault(one.twilio, "stream-reset", ms=1000)
            gone = await one.dial(*HOURS)
            await one.over(gone)
            await one.seen(gone, "call.ended")
            assert "stream.resumed" not in one.events(gone)
            assert (await one.http.get(f"{one.bridge}/health")).json()["live_calls"] == 0
            assert await one.upstream() == []

    asyncio.run(scenario())
