"""What calls live through: callers who interrupt, sessions reset, a silent model, a killed bridge.

All but the kill are the echo model's own; the caller is the load's, who knows to the millisecond when
he hears himself again. For the kill the caller is the simulator of Twilio: it alone knows what Twilio
does when a stream is lost, and is as impatient.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ops.bench.answers import serves
from ops.bench.bridge.designs import Running, Scene, our_settings, our_way
from ops.bench.bridge.load import Load, soon
from ops.bench.bridge.phone import Phone
from ops.bench.bridge.result import Outage
from ops.bench.phones import Phones, Steps
from ops.bench.stage import Stage, free_ports
from ops.errors import OpsError
from ops.journal.hops import Hop
from ops.processes import identity, procfs
from ops.processes.environment import for_service
from ops.services import stand_ins

MENDED = 12.0  # seconds in which a call must be mended, else it counts as lost
UP = 15.0  # seconds in which all calls must hear the agent
CLOSED = 2.0  # seconds until the model's sessions of lost calls must be closed
LOOK = 0.004  # seconds between two looks
TALK: Steps = [{"do": "say", "line": "caller-price"}, {"do": "pause", "ms": 700}]
TALKS = 20


async def barge_in(load: Load) -> Outage:
    """Every caller interrupts at once: seconds until each phone is told to drop the agent's voice. Lost is
    who is not, or whose truncate the model must refuse."""
    began, calls = time.monotonic(), len(load.phones)
    load.model.interrupt()

    def cleared() -> list[float]:
        return [at - began for one in load.phones if (at := one.cleared_at) is not None and at >= began]

    await soon(lambda: len(cleared()) == calls and sum(load.model.truncates.values()) >= calls, CLOSED)
    seconds = tuple(cleared())
    return Outage("barge-in", calls, calls - len(seconds) + load.model.truncates[False], seconds)


async def reset(load: Load) -> Outage:
    """Every session of the model breaks at once: seconds until each caller hears something of another one.

    That is an echo of the last second before the break: a new session is given it, since the caller may have
    begun to speak in it.
    """
    began, before, model = time.monotonic(), len(load.model.opened_at), load.model
    model.reset()
    await soon(lambda: len(model.opened_at) > before, MENDED)
    opened = model.opened_at[before] if len(model.opened_at) > before else math.inf
    return await _mended("reset", load, began, lambda phone: phone.page.came_at > opened)


async def stall(load: Load) -> Outage:
    """The model falls silent and keeps its sessions open: seconds until the bridge opens others."""
    began, before, calls = time.monotonic(), len(load.model.opened_at), len(load.phones)
    load.model.stall()
    await soon(lambda: len(load.model.opened_at) >= before + calls, MENDED)
    noticed = tuple(at - began for at in load.model.opened_at[before : before + calls])
    sent = {phone: phone.page.sent for phone in load.phones}
    mended = await _mended("stall", load, time.monotonic(), lambda phone: phone.page.last >= sent[phone])
    return Outage("stall", calls, mended.lost, noticed)


async def _mended(name: str, load: Load, began: float, hears: Callable[[Phone], bool]) -> Outage:
    """Seconds from `began` until each caller hears what is waited for."""
    waiting = set(load.phones)
    seconds = []
    while waiting and (now := time.monotonic()) - began < MENDED:
        mended = {phone for phone in waiting if hears(phone)}
        seconds += [now - began] * len(mended)
        waiting -= mended
        await asyncio.sleep(LOOK)
    return Outage(name, len(load.phones), len(waiting), tuple(seconds))


async def kill(here: Stage, load: Load, calls: int, *, resumes: bool) -> Outage:
    """kill -9 of the process that holds the callers' sockets: seconds until the phone is sent the agent's
    voice again. Without `resumes` Twilio ends a call whose stream is lost."""
    folder = here.place()
    port, twilio = free_ports(2)
    scene = Scene(folder, port, f"ws://localhost:{load.model.port}/v1/realtime", None)
    settings = our_settings(scene, SIMULATOR_PORT=str(twilio))
    way, stand_in = our_way(settings), stand_ins(settings)["twilio"]
    program = here.launch(way.argv, folder, {**way.environment, **here.mark})
    options = () if resumes else ("--no-resume",)
    here.launch((*stand_in.argv, *options), folder, for_service(stand_in, here.mark))
    bridge = Running(way.door, program.pid)
    try:
        await _until(lambda: way.answers() and serves(twilio, "/health"), "bridge and simulator")
        phones = Phones(settings, twilio)
        sids = [await asyncio.to_thread(phones.dial, TALK * TALKS) for _ in range(calls)]
        await _until(lambda: all(_heard(folder, sid, 0.0) for sid in sids), "every call with the agent")
        killed = datetime.now().timestamp()
        _kill_worker(bridge)
        await soon(lambda: all(_heard(folder, sid, killed) for sid in sids), MENDED if resumes else CLOSED)
        heard = [at for sid in sids if (at := _heard(folder, sid, killed)) is not None]
        await soon(lambda: len(load.model.open) <= len(heard), CLOSED)
        left = max(0, len(load.model.open) - len(heard))
        name = "kill" if resumes else "kill, no resume"
        return Outage(name, calls, calls - len(heard), tuple(at - killed for at in heard), left)
    finally:
        here.end_all()


def _heard(folder: Path, sid: str, after: float) -> float | None:
    """When the agent's first frame of a stream went to this call's phone, if that was after so many
    seconds of the clock."""
    try:
        lines = (folder / "logs" / "calls" / sid / "journal.jsonl").read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        record = json.loads(line)
        at = datetime.fromisoformat(record["ts"]).timestamp()
        if record["event"] == Hop.FIRST_AUDIO and at > after:
            return at
    return None


def _kill_worker(bridge: Running) -> None:
    workers = [pid for pid in bridge.pids if "ops.apps.bridge" in procfs.command(pid)]
    victim = identity.identify(workers[0]) if len(workers) == 1 else None
    if victim is None:
        raise OpsError(f"Expected one bridge process, got {len(workers)}.", fix="read the bridge's output")
    identity.signal_process(victim, signal.SIGKILL)


async def _until(true: Callable[[], bool], what: str) -> None:
    if not await soon(true, UP):
        raise OpsError(f"Expected {what} within {UP:g} s.", fix="start them alone and read their output")
