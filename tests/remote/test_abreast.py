"""`inv -H` from a real command line against a real sshd: states, exit codes, one document, Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Project
from tests.remote.conftest import Hosts, know, make_key

REPORT = '{"schema": "trunkline/report@1", "task": "status", "vendors": {}, "findings": []}'


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    return found


def test_a_task_runs_on_all_hosts(hosts: Hosts) -> None:
    """Every line names its host, the sum names them all, arguments arrive; --json is one document."""
    for name in ("one", "second"):
        hosts.release(hosts.add(name))
    done = hosts.inv("-H", "one,second", "status", "cleanup", "--now")
    assert done.returncode == 0, done.stdout + done.stderr
    for prefix in ("one    │ ", "second │ "):
        assert re.search(f"^{prefix}status: twilio SIMULATED", done.stdout, re.MULTILINE)
        assert re.search(f"^{prefix}cleanup: ok", done.stdout, re.MULTILINE)
    assert "cleanup on 2 hosts – succeeded: one, second" in done.stdout
    found = document(hosts.inv("-H", "second,one", "status", "--json"))
    assert (found["ok"], found["schema"], found["vendors"]["twilio"]) == (
        True,
        "trunkline/report@1",
        "simulated",
    )
    assert set(found["data"]["hosts"]) == {"one", "second"}
    for row in found["data"]["hosts"].values():
        assert (row["state"], row["exit_code"], row["report"]["task"]) == ("ok", 0, "status")


def test_a_stack_lives_on_a_host(hosts: Hosts, project: Project) -> None:
    """start, status and cleanup there are what they are here, and what was started outlives the connection."""
    release = hosts.release(hosts.add("one"))
    ports = {name: port for name, port in project.environ.items() if name.endswith("_PORT")}
    (release / ".env").write_text("".join(f"{name}={port}\n" for name, port in ports.items()))
    try:
        started = document(hosts.inv("-H", "one", "start", "--json"))["data"]["hosts"]["one"]["report"]
        assert {row["state"] for row in started["data"]["services"]} == {"ready"}
        again = document(hosts.inv("-H", "one", "status", "--json"))["data"]["hosts"]["one"]["report"]
        assert [row["pid"] for row in again["data"]["services"]] == [
            row["pid"] for row in started["data"]["services"]
        ]
    finally:
        ended = document(hosts.inv("-H", "one", "cleanup", "--now", "--json"))
    assert ended["data"]["hosts"]["one"]["report"]["data"]["left"] == []


def test_what_failed_what_was_not_touched_and_what_succeeded(hosts: Hosts, tmp_path: Path) -> None:
    """A failing host gives 3 and stops the chain; the report sorts the hosts and says what to type."""
    hosts.release(hosts.add("good"), f"echo $1 >>{tmp_path}/ran; echo '{REPORT}'")
    hosts.release(hosts.add("bad"), "echo broken >&2; exit 3")
    hosts.add("bare")
    hosts.add("gone", port=1)
    found = document(hosts.inv("-H", "good,bad,bare,gone", "status", "--json", "cleanup", "--now"))
    assert found["exit_code"] == 3
    states = {name: row["state"] for name, row in found["data"]["hosts"].items()}
    assert states == {"good": "ok", "bad": "failed", "bare": "no-release", "gone": "unreachable"}
    groups = {key: found["data"][key] for key in ("succeeded", "failed", "untouched")}
    assert groups == {"succeeded": ["good"], "failed": ["bad"], "untouched": ["bare", "gone"]}
    assert found["data"]["retry"] == "inv -H bad,bare,gone status --json cleanup --now"
    assert found["data"]["hosts"]["bad"]["last_lines"] == ["broken"]
    assert (tmp_path / "ran").read_text() == "status\n"
    assert all(finding["fix"] for finding in found["findings"] if finding["status"] != "ok")


@pytest.mark.parametrize(("script", "code"), [("exit 4", 4), ("exit 2", 3), ("kill -9 $$", 3)])
def test_a_hosts_exit_code_counts(hosts: Hosts, script: str, code: int) -> None:
    """Unknown stays unknown; everything else that is not 0 has failed."""
    hosts.release(hosts.add("one"), script)
    done = hosts.inv("-H", "one", "status")
    assert done.returncode == code, done.stdout + done.stderr
    assert "again: inv -H one status" in done.stdout


def test_unreachable_alone_is_4(hosts: Hosts) -> None:
    """Where nothing failed but a host could not be asked, the exit code is 4."""
    hosts.release(hosts.add("one"), "exit 0")
    hosts.add("gone", port=1)
    assert hosts.inv("-H", "one,gone", "status").returncode == 4


def test_all_hosts_finish_a_task_before_the_next(hosts: Hosts, tmp_path: Path) -> None:
    """Inside a task all hosts work at once; between tasks there is a barrier."""
    log = tmp_path / "log"
    for name, seconds in (("slow", 0.6), ("quick", 0)):
        hosts.release(
            hosts.add(name), f"echo {name} $1 begins >>{log}; sleep {seconds}; echo {name} $1 ends >>{log}"
        )
    assert hosts.inv("-H", "slow,quick", "status", "cleanup").returncode == 0
    lines = log.read_text().splitlines()
    assert lines.index("quick status begins") < lines.index("slow status ends")
    assert lines.index("slow status ends") < lines.index("quick cleanup begins")


@pytest.mark.parametrize(("trap", "presses"), [("exit 130", 1), ("", 3)])
def test_ctrl_c_reaches_the_remote_task(hosts: Hosts, tmp_path: Path, trap: str, presses: int) -> None:
    """INT goes to the task and its children, then TERM, then KILL for who will not hear; nothing is left."""
    traps = f"trap '{trap}' INT" if trap else "trap '' INT TERM"
    for name in ("one", "two"):
        hosts.release(
            hosts.add(name),
            f"{traps}; sleep 50 & echo $$ $! >>{tmp_path}/pids; echo up; wait; wait; sleep 50",
        )
    with hosts.popen("-H", "one,two", "status") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        up = [running.stdout.readline(), running.stdout.readline()]
        assert sorted(up) == ["one │ up\n", "two │ up\n"]
        family = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        assert len(family) == 4
        for name in ("INT", "TERM", "KILL")[:presses]:
            running.send_signal(signal.SIGINT)
            assert f"SIG{name}" in running.stderr.readline()
        out, err = running.communicate(timeout=10)
    assert running.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "failed: one, two" in out
    assert psutil.wait_procs(family, timeout=5)[1] == [], out + err


def test_a_desk_that_is_killed_leaves_nothing(hosts: Hosts, tmp_path: Path) -> None:
    """kill -9 of the command here: the task there is interrupted, and its children are ended."""
    hosts.release(
        hosts.add("one"), f"trap 'echo $$ >{tmp_path}/heard; exit 130' INT; sleep 50 & echo $$ $!; wait"
    )
    with hosts.popen("-H", "one", "status") as running:
        assert running.stdout is not None
        family = [psutil.Process(int(pid)) for pid in running.stdout.readline().split()[2:]]
        assert len(family) == 2
        running.kill()
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert (tmp_path / "heard").read_text() == f"{family[0].pid}\n"


def test_an_interrupt_under_json_is_still_one_document(hosts: Hosts) -> None:
    """The document says 130 and which hosts were interrupted."""
    hosts.release(hosts.add("one"), "trap 'exit 130' INT; echo up >&2; touch $0.up; sleep 50 & wait")
    with hosts.popen("-H", "one", "status", "--json") as running:
        up = hosts.folder / "hosts/one/releases/one/inv.up"
        while not (hosts.folder / "hosts/one/current/inv.up").exists():
            assert running.poll() is None, up
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=10)
    found = json.loads(out)
    assert (running.returncode, found["exit_code"], found["data"]["hosts"]["one"]["state"]) == (
        130,
        130,
        "interrupted",
    )


@pytest.mark.parametrize("case", ["unknown", "changed", "revoked", "other-port"])
def test_a_host_that_is_not_vouched_for_is_refused(hosts: Hosts, tmp_path: Path, case: str) -> None:
    """Not a byte of work for a key that is not on file: exit 3, its fingerprint, how to accept it."""
    hosts.release(hosts.add("one"), f"touch {tmp_path}/ran")
    right = hosts.known_hosts.read_text()
    if case == "changed":
        make_key(tmp_path / "another")
        know(hosts, tmp_path / "another.pub")
    else:
        told = {"unknown": "", "revoked": right + "@revoked * " + right.split(" ", 1)[1], "other-port": right}
        hosts.known_hosts.write_text(
            told[case].replace(f":{hosts.port} ", ":1 ") if case == "other-port" else told[case]
        )
    done = hosts.inv("-H", "one", "status")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", hosts.folder / "host_key.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert done.returncode == 3
    assert f"refused, its host key ssh-ed25519 {shown}" in done.stdout or (
        case == "changed" and shown in done.stdout
    )
    assert ("marked @revoked" in done.stdout) == (case == "revoked")
    assert "Fix:" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()
    known = hosts.known_hosts.read_text()
    assert known == "" or case != "unknown"  # nothing was added by itself


def test_a_login_that_is_not_accepted(hosts: Hosts) -> None:
    """A refused key is exit 3, and says whose."""
    hosts.release(hosts.add("one"), "exit 0")
    (hosts.folder / "id.pub").write_text("")
    done = hosts.inv("-H", "one", "status")
    assert done.returncode == 3
    assert f"{hosts.user}@127.0.0.1:{hosts.port} does not accept our login" in done.stdout


def test_names_of_ssh_config_and_bare_addresses(hosts: Hosts) -> None:
    """A host needs no row in ops.toml: an alias of ~/.ssh/config or user@host:port will do."""
    (hosts.home / ".ssh/config").write_text(f"Host alias\n  HostName 127.0.0.1\n  Port {hosts.port}\n")
    found = document(hosts.inv("-H", f"alias,{hosts.user}@127.0.0.1:{hosts.port}", "status", "--json"))
    assert {row["state"] for row in found["data"]["hosts"].values()} <= {"no-release", "ok"}


def test_what_a_login_shell_says_is_no_output_of_the_task(hosts: Hosts) -> None:
    """A greeting before the task's own output breaks no document."""
    hosts.release(hosts.add("one"), f"echo '{REPORT}'")
    key = (hosts.folder / "id.pub").read_text()
    (hosts.folder / "id.pub").write_text(
        f'command="echo Welcome; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"" {key}'
    )
    assert (
        document(hosts.inv("-H", "one", "status", "--json"))["data"]["hosts"]["one"]["report"]["findings"]
        == []
    )


@pytest.mark.parametrize("said", ["not json", REPORT.replace("status", "start"), "[" * 5000, REPORT + REPORT])
def test_a_fake_document_is_no_success(hosts: Hosts, said: str) -> None:
    """A host that ends with 0 but writes no report of this task has failed, and its words stay out of ours."""
    hosts.release(hosts.add("one"), f"echo '{said}'")
    found = document(hosts.inv("-H", "one", "status", "--json"))
    assert (found["exit_code"], found["data"]["hosts"]["one"]["report"]) == (3, None)


def _peak_kib(pid: int) -> int:
    """The most memory the process has had since it was executed; what its parent had is not counted."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), 0))


@pytest.mark.timeout(300)
def test_endless_output_costs_no_memory(hosts: Hosts, request: pytest.FixtureRequest) -> None:
    """A flood with escape sequences, one endless line among it (18 MB, with --long 1 GB): capped, cleaned, in
    bounded memory."""
    half = 500_000_000 if request.config.getoption("--long") else 9_000_000
    flood = rf"""yes "$(printf '\033]0;title\007\033[2Jwords')" | head -c {half}; head -c {half} /dev/zero"""
    hosts.release(hosts.add("one"), flood)
    output = hosts.root / "out"
    with output.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "invoke", "-H", "one", "status"],
            cwd=hosts.root,
            env=hosts.environ,
            stdout=out,
        )
        peak = 0
        while running.poll() is None:
            peak = max(peak, _peak_kib(running.pid))
            time.sleep(0.02)
    assert running.returncode == 0
    assert 0 < peak < 200 * 1024
    text = output.read_bytes()
    assert b"\x1b" not in text
    assert b"output beyond" in text
    assert len(text) < 20_000_000


def test_records_of_several_hosts_are_one_stream(hosts: Hosts) -> None:
    """`logs --json` stays JSON lines, each with its host."""
    for name in ("one", "two"):
        hosts.release(hosts.add(name), """echo '{"event": "x", "host": "fake"}'; echo prose""")
    done = hosts.inv("-H", "one,two", "logs", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(line)["host"] for line in done.stdout.splitlines()) == ["one", "two"]


def test_bad_hosts_are_bad_settings(hosts: Hosts) -> None:
    """Every fault of -H and [hosts] at once, exit 2, and nobody was called."""
    (hosts.root / "ops.toml").write_text("[hosts.one]\nadress = 'x'\n")
    found = document(hosts.inv("-H", "one,a;id,,", "status", "--json"))
    assert found["exit_code"] == 2
    assert len(found["findings"]) >= 3
    assert all(finding["fix"] for finding in found["findings"])
