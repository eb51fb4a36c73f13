"""What goes wrong while a stack runs: deaths, a dead supervisor, lost state, no descriptors, no disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ops.processes import identity
from ops.processes.identity import Identity
from ops.services import Ready
from tests.processes.conftest import SERVE, Rig, kill, until

NODE = shutil.which("node")


def test_a_killed_service_comes_back_at_once(rig: Rig) -> None:
    """A service that was ready and is killed answers again, as a new process, with its restart counted."""
    rig.start(rig.service("one"))
    before = rig.who("one")
    kill(before)
    until(lambda: rig.stands("one", state="ready", restarts=1))
    assert rig.who("one") != before


def test_what_a_dead_service_left_is_ended_before_it_starts_again(rig: Rig) -> None:
    """A wrapper that dies leaves its child on the port: the child is ended, so the next start is ready."""
    port = rig.port()
    rig.start(rig.service("one", port=port, argv=("sh", "-c", f"{sys.executable} -S {SERVE} {port}; true")))
    kill(rig.who("one"))
    until(lambda: rig.stands("one", state="ready", restarts=1))
    assert len(rig.members()) == 2


def test_quick_deaths_end_in_failed_with_the_reason(rig: Rig) -> None:
    """After as many quick deaths as the settings allow the service is failed, and `status` fails."""
    rig.start(rig.service("bad", "crash"), rig.service("good"))
    until(lambda: rig.row("bad")["state"] == "failed")
    outcome = rig.status()
    finding = next(finding for finding in outcome.findings if finding.id == "services.bad")
    assert finding.status == "fail"
    assert "died 3 times in a row" in finding.summary
    assert "exited with code 3" in finding.summary
    assert finding.evidence["last_lines"] == ["Error: the shop has no door"]
    assert rig.row("bad")["restarts"] == 2


def test_a_start_gives_a_failed_service_another_chance(rig: Rig) -> None:
    """`start` begins anew with what had failed."""
    rig.start(rig.service("one", "crash"))
    until(lambda: rig.row("one")["state"] == "failed")
    assert not rig.start(rig.service("one")).failed


def test_the_next_command_adopts_after_kill_9(rig: Rig) -> None:
    """The supervisor is killed: services go on, `start` gives them a new one, with the same pids."""
    services = rig.service("one", "setsid"), rig.service("two")
    rig.start(*services)
    pids = rig.pid("one"), rig.pid("two")
    old = rig.kill_supervisor()
    outcome = rig.start(*services)
    assert not outcome.failed
    assert (rig.pid("one"), rig.pid("two")) == pids
    assert [row["restarts"] for row in outcome.data["services"]] == [0, 0]
    assert rig.supervisor() != old


def test_status_adopts_too_and_says_so(rig: Rig) -> None:
    """Any next command takes the services over; `status` tells that it did."""
    rig.start(rig.service("one"))
    pid = rig.pid("one")
    rig.kill_supervisor()
    assert rig.status(adopt=False).findings[0].id == "services.orphaned"
    outcome = rig.status()
    assert "services.adopted" in [finding.id for finding in outcome.findings]
    assert outcome.data["supervisor"]["pid"]
    assert outcome.data["services"][0]["pid"] == pid


def test_an_adopted_service_tells_its_true_exit_code(rig: Rig) -> None:
    """How a process ended that another supervisor had started is known, and it is started again."""
    program = "import time, sys, pathlib\nwhile not pathlib.Path('go').exists(): time.sleep(.01)\nsys.exit(7)"
    rig.start(rig.service("one", port=0, argv=(sys.executable, "-S", "-c", program), restart="never"))
    rig.kill_supervisor()
    rig.status()
    (rig.root / "go").touch()
    until(lambda: rig.row("one")["state"] == "failed")
    assert rig.row("one")["reason"] == "exited with code 7"


def test_a_service_that_died_unwatched_is_started_again(rig: Rig) -> None:
    """What ended while no supervisor lived is started by the next one."""
    services = rig.service("one"), rig.service("two")
    rig.start(*services)
    rig.kill_supervisor()
    kill(rig.who("one"))
    until(lambda: len(rig.members()) == 1)
    assert not rig.start(*services).failed
    assert sorted(member.service for member in rig.members()) == ["one", "two"]


def test_a_suspended_supervisor_is_replaced(rig: Rig) -> None:
    """A supervisor that does not take orders is ended, and its services go on under the next one."""
    one, two = rig.service("one"), rig.service("two")
    rig.start(one)
    pid = rig.pid("one")
    who = rig.kill_supervisor(signal.SIGSTOP)
    assert not rig.start(one, two).failed
    assert not identity.lives(who)
    assert rig.pid("one") == pid


def test_a_suspended_service_is_noticed(rig: Rig) -> None:
    """SIGSTOP: unready with the reason, ready again after SIGCONT."""
    rig.start(rig.service("one"))
    kill(rig.who("one"), signal.SIGSTOP)
    until(lambda: rig.row("one")["state"] == "unready")
    assert "SIGSTOP" in rig.row("one")["reason"]
    kill(rig.who("one"), signal.SIGCONT)
    until(lambda: rig.row("one")["state"] == "ready")
    assert rig.row("one")["restarts"] == 0


def test_a_service_silent_for_long_is_started_again(rig: Rig) -> None:
    """One that gives no answer for `silence` seconds is ended and comes back as a new process."""
    rig.start(rig.service("one", silence=0.5))
    before = rig.who("one")
    kill(before, signal.SIGSTOP)
    until(lambda: rig.stands("one", state="ready", restarts=1))
    assert not identity.lives(before)


def test_a_port_lost_to_a_stranger_makes_no_crash_loop(rig: Rig) -> None:
    """While a stranger holds its port a service is not started again and again; afterwards it is."""
    service = rig.service("one")
    rig.start(service)
    thief = (
        "import socket, sys, time\nwhile True:\n  s = socket.socket()\n"
        "  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        f"  try: s.bind(('127.0.0.1', {service.port})); s.listen(); break\n  except OSError: s.close()\n"
        "print('mine', flush=True); time.sleep(60)"
    )
    kill(rig.who("one"), signal.SIGSTOP)  # so that it does not come back before the thief is there
    process = subprocess.Popen([sys.executable, "-S", "-c", thief], stdout=subprocess.PIPE)
    try:
        supervisor = rig.supervisor()
        kill(supervisor, signal.SIGSTOP)
        kill(rig.who("one"))
        assert process.stdout
        assert process.stdout.readline() == b"mine\n"
        kill(supervisor, signal.SIGCONT)
        until(lambda: f"pid {process.pid}" in rig.row("one")["reason"])
        time.sleep(1.2)
        assert rig.row("one")["life"]["deaths"] == 1
    finally:
        process.kill()
        process.communicate()
    until(lambda: rig.row("one")["state"] == "ready")


def test_a_record_of_an_earlier_boot_means_nothing(rig: Rig) -> None:
    """Numbers that were written down under another boot id are nobody's: nothing is kept or signalled."""
    bystander = subprocess.Popen([sys.executable, "-S", str(SERVE), "0"])
    try:
        service = rig.service("one")
        rig.start(service)
        rig.kill_supervisor()
        kill(rig.who("one"))
        until(lambda: rig.members() == [])
        text = json.loads(rig.files.stack_path.read_text())
        now = identity.identify(bystander.pid)
        assert now
        for record in (text["supervisor"], text["services"][0]):
            record.update(pid=now.pid, start_ticks=now.start_ticks, boot_id="an-earlier-boot")
        rig.files.stack_path.write_text(json.dumps(text))
        assert not rig.start(service).failed
        assert rig.pid("one") != bystander.pid
        rig.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_recycled_pid_is_nobody_of_ours(rig: Rig) -> None:
    """A recorded number that now belongs to another process is neither kept nor ended."""
    bystander = subprocess.Popen([sys.executable, "-S", str(SERVE), "0"])
    try:
        service = rig.service("one")
        rig.start(service)
        rig.kill_supervisor()
        kill(rig.who("one"))
        until(lambda: rig.members() == [])
        text = json.loads(rig.files.stack_path.read_text())
        text["services"][0]["pid"] = text["supervisor"]["pid"] = bystander.pid  # its old start time stays
        rig.files.stack_path.write_text(json.dumps(text))
        assert rig.status().data["supervisor"]["pid"] is None
        rig.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("lost", ["stack", "wanted", "both"])
def test_truncated_state_is_recovered(rig: Rig, lost: str) -> None:
    """Run files cut in half while no supervisor lives: the next start still adopts the same processes."""
    service = rig.service("one", "double")
    rig.start(service)
    pid = rig.pid("one")
    rig.kill_supervisor()
    for path, name in ((rig.files.stack_path, "stack"), (rig.files.wanted_path, "wanted")):
        if lost in (name, "both"):
            path.write_text(path.read_text()[: path.stat().st_size // 2])
    outcome = rig.start(service)
    assert not outcome.failed
    assert rig.pid("one") == pid
    assert len(rig.members()) == 2


def test_deleted_logs_are_made_again(rig: Rig) -> None:
    """`rm -r logs` under a running stack: services go on, their state is written anew, a start keeps them."""
    service = rig.service("one")
    rig.start(service)
    pid = rig.pid("one")
    shutil.rmtree(rig.files.logs)
    until(rig.files.stack_path.exists)
    assert not rig.start(service).failed
    assert rig.pid("one") == pid


def test_a_supervisor_without_descriptors_recovers(rig: Rig) -> None:
    """With no file descriptor left nothing is restarted and nothing is given up; then all goes on."""
    rig.start(rig.service("one"))
    who = rig.supervisor()
    used = len(list(Path(f"/proc/{who.pid}/fd").iterdir()))
    before = resource.prlimit(who.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(who.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    kill(rig.who("one"))
    time.sleep(0.5)
    assert identity.lives(who)
    resource.prlimit(who.pid, resource.RLIMIT_NOFILE, before)
    until(lambda: rig.stands("one", state="ready", restarts=1))
    assert rig.row("one")["life"]["deaths"] == 1


def test_output_survives_the_supervisor_and_never_blocks(rig: Rig) -> None:
    """A flood of output goes to the file with nobody reading; all of it is there."""
    service = rig.service("one", "sleep=0.5", "flood")
    threading.Thread(target=lambda: (until(rig.files.stack_path.exists), rig.kill_supervisor())).start()
    rig.start(service)
    until(lambda: rig.files.output("one").stat().st_size == 4096 * 1024)


def test_foreign_output_reaches_the_journal_redacted(rig: Rig) -> None:
    """Lines of a service that is not ours become records, with their level, without its secrets."""
    secret = "s" + os.urandom(8).hex()
    env = {"SHOP_TOKEN": secret}
    rig.start(rig.service("one", "say=WARNING: mind the gap", "secret=SHOP_TOKEN", env=env))
    path = rig.files.logs / "one.jsonl"
    until(lambda: path.exists() and len(path.read_text().splitlines()) == 2)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(record["level"], record["service"]) for record in records] == [
        ("WARNING", "one"),
        ("INFO", "one"),
    ]
    assert secret not in path.read_text() + (rig.files.logs / "latest.log").read_text()
    assert secret not in rig.files.stack_path.read_text()
    assert "mind the gap" in (rig.files.logs / "latest.log").read_text()


def test_run_files_are_private(rig: Rig) -> None:
    """The orders hold secrets: only their owner may read them, and no command line shows them."""
    secret = "s" + os.urandom(8).hex()
    rig.start(rig.service("one", env={"SHOP_TOKEN": secret}))
    assert rig.files.wanted_path.stat().st_mode & 0o077 == 0
    assert rig.files.stack_path.stat().st_mode & 0o077 == 0
    for pid in (rig.pid("one"), rig.supervisor().pid):
        assert secret not in Path(f"/proc/{pid}/cmdline").read_text()


def test_a_child_gets_little_of_our_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its own variables a service gets the few that programs need, and the marks of its stack."""
    monkeypatch.setenv("SOMETHING_ELSE", "x")
    rig.start(rig.service("one", env={"OWN": "y"}))
    entries = Path(f"/proc/{rig.pid('one')}/environ").read_text().split("\0")
    environment = dict(entry.partition("=")[::2] for entry in entries)
    assert environment["OWN"] == "y"
    assert "PATH" in environment
    assert "SOMETHING_ELSE" not in environment
    assert environment["TRUNKLINE_ROOT"] == str(rig.root)


def test_the_supervisor_is_small(rig: Rig) -> None:
    """At most 25 MiB of memory (PSS)."""
    rig.start(rig.service("one"))
    lines = Path(f"/proc/{rig.supervisor().pid}/smaps_rollup").read_text().splitlines()
    assert int(next(line for line in lines if line.startswith("Pss:")).split()[1]) <= 25 * 1024


def test_a_clock_set_back_changes_nothing(rig: Rig) -> None:
    """With the wall clock an hour back a service is still restarted at once, and stays so."""
    service = rig.service("one")
    rig.start(service)
    rig.kill_supervisor()
    program = (
        "import sys, time, pathlib\nreal = time.time\ntime.time = lambda: real() - 3600\n"
        "from ops.processes.supervisor import main\nmain(pathlib.Path(sys.argv[1]))"
    )
    wanted = rig.files.wanted()
    assert wanted
    environment = {**os.environ, "TRUNKLINE_STACK": wanted.token, "TRUNKLINE_SERVICE": "supervisor"}
    argv = [sys.executable, "-c", program, str(rig.root)]
    subprocess.run(argv, env=environment, cwd=Path(__file__).parents[2], check=True, timeout=10)
    until(lambda: identity.lives(rig.supervisor()))
    kill(rig.who("one"))
    until(lambda: rig.stands("one", state="ready", restarts=1), 5.0)


FULL_DISK = """
import os, sys, signal, subprocess
from pathlib import Path
from tests.processes.conftest import Rig, until, kill
from ops.processes import identity
root = Path(sys.argv[1])
import socket
def free(n):
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in found]
    [one.close() for one in found]
    return ports
def run(line):
    subprocess.run(line, shell=True, check=True)
rig = Rig(root, free)
try:
    assert not rig.start(rig.service("one")).failed
    before = rig.who("one")
    file = (root / "logs" / "filler").open("ab", buffering=0)
    def fill():
        for size in (65536, 1):
            try:
                while True: file.write(b"x" * size)
            except OSError: pass
    fill()
    kill(before)
    port = rig.files.stack().services[0].ports[0]
    def back():
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return True
        except OSError: return False
    until(lambda: fill() or (back() and not identity.lives(before)))
    file.close()
    (root / "logs" / "filler").unlink()
    until(lambda: rig.files.stack().lost.get("state_writes"))
    assert rig.who("one") != before
    assert "services.lost" in [finding.id for finding in rig.status().findings]
    run(f"mkdir {root}/ro && mount -t tmpfs none {root}/ro && cp -a {root}/logs/run/. {root}/ro"
        f" && mount -o remount,ro {root}/ro && mount --bind {root}/ro {root}/logs/run")
    assert rig.stop(now=True).data["left"] == []
    assert rig.members() == []
finally:
    os.system(f"umount {root}/logs/run 2>/dev/null")
    assert rig.stop(now=True).data["left"] == []
print("passed")
"""


def test_a_full_disk_stops_no_service(rig: Rig) -> None:
    """With no room for state and logs a dead service is still restarted, the loss is counted and told;
    a disk that has become read-only hinders no stop."""
    mount = f'mount -t tmpfs -o size=512k none {rig.root}/logs && exec {sys.executable} -c "$0" {rig.root}'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, FULL_DISK]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=40, cwd=Path(__file__).parents[2], check=False
        )
    except FileNotFoundError:
        pytest.skip("unshare (util-linux) is not here, so no small disk can be made")
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this kernel lets us make no small disk of our own")
    assert done.stdout.endswith("passed\n"), done.stdout + done.stderr


@pytest.mark.skipif(NODE is None, reason="node is not installed; the Node stack cannot be tried")
def test_a_node_service_runs_like_any_other(rig: Rig) -> None:
    """A plain Node server: ready by its own socket, restarted when killed, stopped with SIGTERM."""
    port = rig.port()
    script = Path(__file__).parent / "programs" / "serve.mjs"
    argv = (str(NODE), str(script))
    service = rig.service("web", port=port, argv=argv, env={"PORT": str(port)}, ready=Ready("tcp"))
    assert not rig.start(service).failed
    kill(rig.who("web"))
    until(lambda: rig.stands("web", state="ready", restarts=1))
    row = next(row for row in rig.stop().data["receipt"] if row["name"] == "web")
    assert row["signal"] == "SIGTERM"


def test_the_exit_code_of_a_process_that_others_reaped() -> None:
    """Through its pidfd a zombie tells how it ended, and (Linux 6.15) so does one that is already gone."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.exit(5)"])
    pidfd = os.pidfd_open(child.pid)
    until(lambda: not identity.identify(child.pid))
    assert identity.exit_code(pidfd, child.pid) == 5
    child.wait()
    gone = identity.exit_code(pidfd, child.pid)
    os.close(pidfd)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert gone == (5 if release >= (6, 15) else None)


def test_an_identity_is_never_just_a_number() -> None:
    """A signal meant for an earlier process with the same number reaches nobody."""
    me = identity.identify(os.getpid())
    assert me
    earlier = Identity(me.pid, me.start_ticks - 1, me.boot_id)
    assert identity.signal_process(me, 0)
    assert not identity.signal_process(earlier, signal.SIGKILL)
    assert not identity.signal_process(Identity(me.pid, me.start_ticks, "another-boot"), signal.SIGKILL)
