"""Callers on the line of our own bridge: what they hear, and that a lost one counts."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

from ops.bench.bridge.designs import designs, running
from ops.bench.shipping.callers import callers
from ops.bench.stage import stage


def test_callers_live_and_a_lost_one_counts() -> None:
    """All talk while nothing is wrong, and new ones are taken; when the bridge dies, all are lost."""
    ours = designs(Path(), {})[0]
    with callers("127.0.0.1") as people, stage() as here:
        with running(here, ours, people.model_port, None, None) as bridge:
            with people.on_the_line(bridge.door, 3) as well:
                time.sleep(1.0)
            assert (well.calls, well.dropped, well.refused) == (3, 0, [])
            assert well.new >= 3
            assert 0 <= well.silence < 5.0
            with people.on_the_line(bridge.door, 2) as lost:
                for pid in bridge.pids:
                    psutil.Process(pid).send_signal(signal.SIGKILL)
                time.sleep(0.5)
            assert (lost.calls, lost.dropped) == (2, 2)
            assert len(lost.refused) >= 1
