"""What the bench of supervisors makes of its measurements; and one real, tiny run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from ops.bench import install, processes
from ops.bench.processes import Result, Row
from ops.bench.stage import VARIABLE, free_ports, stage
from ops.bench.tools import Scene, Tool, tools
from ops.bench.trials import Crash, Times
from ops.processes import procfs

NOTHING = dict.fromkeys(("service", "group", "setsid", "double"), 0)


def result(**peers: float) -> Result:
    """Ours with start 300, stop 200, restart 90 ms; bare listening after 50 ms; peers by start time."""
    known = {tool.name: tool for tool in tools(Path("/none"), {})}
    ours = Row(known["trunkline"], [Times(250, 300, 3, 90, 200, 12.0)], [NOTHING], [Crash(3, 3, 0, NOTHING)])
    rows = {
        name: Row(replace(known[name], version="1"), [Times(ms, ms - 10, 3)]) for name, ms in peers.items()
    }
    return Result({"trunkline": ours, **rows}, [50.0], [(150.0, 80.0)])


def values(measured: Result) -> dict[str, float | None]:
    return {one.id: one.value for one in processes.figures(measured)}


def test_start_is_compared_with_the_faster_peer() -> None:
    """The whole command until it has returned and all answer, against the faster of the two."""
    assert values(result(dekit=1000.0, pm2=600.0))["bench.start"] == 0.5
    assert values(result(dekit=1000.0))["bench.start"] == 0.3


def test_an_absent_peer_is_not_invented() -> None:
    """Without peers the ratio is not measured, the rest is, and the table says who is absent."""
    measured = result()
    measured.rows["pm2"] = Row(Tool("pm2", None, measured.rows["trunkline"].tool.way))
    found = values(measured)
    assert found["bench.start"] is None
    assert (found["bench.stop"], found["bench.restart"], found["bench.memory"]) == (200, 40, 12.0)
    assert processes.table(measured)[1] == {"tool": "pm2", "start: all answer, ms": "absent"}


def test_the_worst_of_all_tries_counts_for_outcomes() -> None:
    """One helper left once, one service started anew once: both are missed goals and failures."""
    measured = result(dekit=900.0)
    row = measured.rows["trunkline"]
    row.left.append(NOTHING | {"double": 1})
    row.crashes.append(Crash(3, 2, 1, NOTHING))
    row.times.append(Times(200, 210, 2))
    missed = {one.id for one in processes.figures(measured) if one.finding().status == "fail"}
    assert missed == {"bench.left-double", "bench.same-pids", "bench.extra-starts", "bench.start-ready"}


def test_a_start_that_fails_is_not_a_false_ready() -> None:
    """A start that says it failed promised nothing; it is counted for itself, with its words."""
    measured = result(dekit=900.0)
    measured.rows["trunkline"].times.append(Times(None, 200, 1, trouble="ended with 3: port held"))
    found = {one.id: one for one in processes.figures(measured)}
    assert found["bench.start-ready"].met
    assert found["bench.start-failed"].value == 1
    assert "port held" in found["bench.start-failed"].finding().summary


def test_ports_are_none_that_the_kernel_gives_to_clients() -> None:
    """Neighbours, free, and below the range of clients: asked too early one would connect to itself."""
    clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = free_ports(5)
    assert ports == list(range(ports[0], ports[0] + 5))
    assert ports[-1] < clients


def test_peers_are_absent_where_none_is_installed(tmp_path: Path) -> None:
    """An empty cache folder holds nobody; ours and bare processes are always there."""
    assert install.installed(tmp_path, install.SUPERVISORS) == {}
    present = [tool.name for tool in tools(tmp_path, {}) if tool.version is not None]
    assert present == ["trunkline", "bare"]


def test_every_way_describes_the_three_services(tmp_path: Path) -> None:
    """Whatever its form, each tool's files or commands name every port."""
    scene = Scene(tmp_path, (41001, 41002, 41003), "token")
    for tool in tools(tmp_path, {}):
        way = tool.way(scene)
        text = " ".join([*way.files.values(), *(word for argv in way.start for word in argv)])
        assert all(str(port) in text for port in scene.ports), tool.name


def test_what_a_stage_started_ends_with_it_and_nothing_else(tmp_path: Path) -> None:
    """A daemon in a session of its own is counted by its token and killed; a stranger beside it lives."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as stranger:
        daemon = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(30)"
        with stage() as here:
            folder = here.place()
            here.launch([sys.executable, "-c", daemon], folder).wait()
            found = here.census()
            assert len(found) == 1
            assert all(procfs.environment(who.pid)[VARIABLE] == here.token for who in found)
        assert not here.census()
        assert not folder.exists()
        assert stranger.poll() is None
        stranger.kill()


def test_a_signal_ends_the_bench_and_all_it_started(tmp_path: Path) -> None:
    """SIGTERM in the middle: the stage is cleared before the program ends."""
    code = (
        "import sys, time\nfrom ops.bench.stage import stage\n"
        "with stage() as here:\n"
        "    here.launch([sys.executable, '-c', 'import time; time.sleep(30)'], here.place())\n"
        "    print(here.token, flush=True)\n    time.sleep(30)\n"
    )
    repository = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as bench:
        assert bench.stdout is not None
        token = bench.stdout.readline().strip()
        assert _carrying(token)
        bench.send_signal(signal.SIGTERM)
        bench.communicate(timeout=10)
    assert not _carrying(token)


def test_one_round_of_our_own() -> None:
    """Bare and ours, one round: three services start, come back, stop, and nothing is left."""
    began = time.monotonic()
    measured = processes.measure(
        rounds=1, only=("trunkline", "bare"), outcomes=False, progress=lambda _: None
    )
    found = values(measured)
    assert found["bench.start-ready"] == 0
    assert found["bench.stop"] is not None
    assert found["bench.restart"] is not None
    assert found["bench.memory"] is not None
    assert found["bench.memory"] > 1
    assert found["bench.left-service"] is None
    assert measured.rows["bare"].times[0].answer_ms is not None
    assert time.monotonic() - began < 20


def _carrying(token: str) -> list[int]:
    return [pid for pid in procfs.all_stats() if procfs.environment(pid).get(VARIABLE) == token]
