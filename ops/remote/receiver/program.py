"""Carries out one request on a host: its steps in their order, all of them or up to the first refused."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from typing import Any

from ops.remote.receiver.balancer import Balancer
from ops.remote.receiver.base import Base
from ops.remote.receiver.files import Refusal
from ops.remote.receiver.releases import Releases
from ops.remote.receiver.units import Units, obstacle

FAULTS = (Refusal, OSError, subprocess.TimeoutExpired)
ASKING = ("facts", "missing", "look", "weights")  # leave no trace, not even a folder


def answer(path: str, request: dict[str, Any]) -> dict[str, Any]:
    """Carry out a request below the folder `path`; one at a time. Raises Refusal."""
    base = Base(path)
    steps = [{**request, **step} for step in request["steps"]]
    if all(step["do"] in ASKING for step in steps):
        return _carry_out(base, steps)
    base.path.mkdir(parents=True, exist_ok=True)
    with (base.path / ".mutex").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        return _carry_out(base, steps)


def _carry_out(base: Base, steps: list[dict[str, Any]]) -> dict[str, Any]:
    releases, units, balancer = Releases(base), Units(base), Balancer()
    free = {
        "facts": lambda step: base.facts(step) | {"obstacle": obstacle(base)},
        "missing": releases.missing, "lock": base.lock, "releases": releases.releases,
        "look": units.look, "weights": balancer.weights,
    }  # fmt: skip
    locked = {
        "unlock": base.unlock, "condemn": base.condemn, "absorb": releases.absorb,
        "install": releases.install, "switch": releases.switch, "back": releases.back,
        "rollback": releases.rollback, "return": releases.return_to, "prune": releases.prune,
        "slot": units.slot, "drain": units.drain, "balance": balancer.balance,
    }  # fmt: skip
    told: dict[str, Any] = {}
    for step in steps:
        if step["do"] in locked:
            base.holds(step["token"])
        try:
            told |= (free | locked)[step["do"]](step)
        except FAULTS:
            before = told.get("slot_from")
            if step["do"] == "balance" and before not in (None, base.slot()):  # where new calls still go
                releases.return_to({**step, "id": told["from"], "slot": before})
            raise
    return told


def main() -> None:
    """Read one request, a line of standard input, carry it out, answer."""
    request = json.loads(sys.stdin.buffer.readline())
    os.umask(0o022)
    told: dict[str, Any]
    try:
        told = {"ok": answer(request["base"], request)}
    except Refusal as refusal:
        told = {"refused": str(refusal), "fix": refusal.fix}
    except subprocess.TimeoutExpired as problem:
        told = {"refused": f"{problem}.", "fix": "see why the host is that slow, then again"}
    except OSError as problem:
        told = {"refused": f"{problem}.", "fix": "check the rights and the space on the host's disk"}
    sys.stdout.write(f"\x1e{request['word']} {json.dumps(told)}\n")


if __name__ == "__main__":
    main()
