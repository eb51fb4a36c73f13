"""The tasks from a real command line: exit codes, one JSON document, errors that say what to do."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys

import pytest

from tests.conftest import Project

TASKS = (
    "start",
    "basic",
    "debug",
    "cleanup",
    "status",
    "validate",
    "call",
    "simulate",
    "logs",
    "deploy",
    "rollback",
    "releases",
    "test",
    "bench",
)


def test_every_task_is_listed_and_nothing_else(project: Project) -> None:
    """The promised tasks exist; what does not exist yet is not listed."""
    listed = json.loads(project.inv("--list", "--list-format=json").stdout)
    assert {task["name"] for task in listed["tasks"]} == set(TASKS)
    assert all(task["help"] for task in listed["tasks"])


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("debug", "test", "logs", "bench")])
def test_bad_settings_end_with_2_and_one_document(project: Project, name: str) -> None:
    """Unusable settings: exit 2, every fault a finding with its fix, no traceback, the vendor in error."""
    document = project.json(name, TWILIO_ACCOUNT_SID="AC" + secrets.token_hex(16), WEBAPP_PORT="x")
    assert document["exit_code"] == 2
    assert document["ok"] is False
    assert document["vendors"]["twilio"] == "error"
    assert {finding["evidence"]["variable"] for finding in document["findings"]} == {
        "TWILIO_AUTH_TOKEN", "WEBAPP_PORT",
    }  # fmt: skip
    assert all(finding["fix"] for finding in document["findings"])


def test_the_same_fault_in_words(project: Project) -> None:
    """People read the contract's sentence, on a report without a traceback."""
    done = project.inv("validate", TWILIO_ACCOUNT_SID="AC" + secrets.token_hex(16))
    assert done.returncode == 2
    assert "Missing required environment variable TWILIO_AUTH_TOKEN (looked in" in done.stdout
    assert "Fix: add it to .env" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_taken_port_is_named_and_nothing_starts(project: Project) -> None:
    """A stranger on a port: exit 3, the finding names him, and not one service was started."""
    with socket.create_server(("127.0.0.1", int(project.environ["WEBAPP_PORT"]))):
        document = project.json("start")
    assert document["exit_code"] == 3
    (finding,) = [one for one in document["findings"] if one["status"] == "fail"]
    assert str(project.environ["WEBAPP_PORT"]) in finding["summary"]
    assert finding["evidence"]["pid"] == os.getpid()
    assert not [row for row in document["data"].get("services", []) if row["pid"]]


def test_status_and_cleanup_of_nothing(project: Project) -> None:
    """Where nothing runs, status and cleanup say so and are content."""
    assert project.json("status")["data"]["services"] == []
    document = project.json("cleanup")
    assert (document["data"]["receipt"], document["data"]["left"]) == ([], [])


def test_start_only_runs_just_the_bridge_against_given_addresses(project: Project) -> None:
    """With credentials, addresses and PUBLIC_URL set, --only websocket-server starts that alone, as live."""
    port = project.environ["WEBSOCKET_PORT"]
    given = {
        "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "OPENAI_API_KEY": "sk-" + secrets.token_hex(20), "OPENAI_REALTIME_URL": "ws://127.0.0.1:9/v1/realtime",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "TWILIO_API_URL": "http://127.0.0.1:9",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    document = project.json("start", "--only", "websocket-server", **given)
    assert document["exit_code"] == 0, document["findings"]
    assert [row["name"] for row in document["data"]["services"]] == ["websocket-server"]
    assert document["data"]["public_url"] == f"http://127.0.0.1:{port}"
    assert (document["vendors"]["twilio"], document["vendors"]["openai"]) == ("live", "live")
    text = json.dumps(document)
    assert not [value for name, value in given.items() if name.endswith(("TOKEN", "KEY")) and value in text]


def test_an_unknown_service_is_a_setting_error(project: Project) -> None:
    """--only with a name that does not exist lists those that do."""
    document = project.json("start", "--only", "webap")
    assert document["exit_code"] == 2
    assert "webapp" in document["findings"][-1]["fix"]


def test_ctrl_c_ends_with_130(project: Project) -> None:
    """An interrupt is 130 under plain Invoke too, without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", "status", "--watch"],
        cwd=project.root, env=project.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert "Traceback" not in out + err


def test_a_chain_stops_at_the_first_failure(project: Project) -> None:
    """cleanup after a failing validate is not run."""
    done = project.inv("validate", "--only", "service", "cleanup")
    assert done.returncode == 3
    assert "cleanup:" not in done.stdout


def test_validate_fix_recreates_env_and_closes_it(project: Project) -> None:
    """A missing .env is made from .env.example, for its owner alone; an open one with secrets is closed."""
    (project.root / "logs/run").mkdir(parents=True)
    document = project.json("validate", "--fix", "--only", "env")
    assert document["exit_code"] == 0, document["findings"]
    env = project.root / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    env.write_text(f"OPENAI_API_KEY=sk-{secrets.token_hex(20)}\n")
    env.chmod(0o644)
    project.inv("validate", "--fix", "--only", "env")
    assert env.stat().st_mode & 0o777 == 0o600


def test_debug_shows_the_state_and_no_secret(project: Project) -> None:
    """debug --json: every setting with its source, files, versions, ports with holders; secrets are dots."""
    token = secrets.token_hex(16)
    given = {"TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": token}
    with socket.create_server(("127.0.0.1", int(project.environ["WEBAPP_PORT"]))):
        document = project.json("debug", **given)
    data = document["data"]
    rows = {row["name"]: row for row in data["settings"]}
    assert rows["TWILIO_AUTH_TOKEN"] == {
        "name": "TWILIO_AUTH_TOKEN", "value": "•••", "source": "the environment",
    }  # fmt: skip
    assert rows["OPENAI_API_KEY"]["source"] == "stand-in of a simulated vendor"
    holders = {row["service"]: row["holder"] for row in data["ports"]}
    assert f"pid {os.getpid()} " in holders["webapp"]
    assert holders["websocket-server"] is None
    assert token not in json.dumps(document)


def test_debug_raises_the_level_of_a_running_stack_and_puts_it_back(project: Project) -> None:
    """The running stack keeps its processes; DEBUG records appear while debug follows, and end with it."""
    before = project.json("start")["data"]["services"]
    done = project.inv("debug", "--seconds", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project.root / "logs/run/log-level").exists()
    after = project.json("status")["data"]["services"]
    assert [row["pid"] for row in after] == [row["pid"] for row in before]


def test_logs_filter_by_level_and_service(project: Project) -> None:
    """Under --json every line is one record that fits the question, in order of time."""
    assert project.inv("start").returncode == 0
    done = project.inv("logs", "--json", "--service", "websocket-server", "--level", "SUCCESS")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records
    assert {record["service"] for record in records} == {"websocket-server"}
    assert {record["level"] for record in records} <= {"SUCCESS", "WARNING", "ERROR"}
    assert [record["ts"] for record in records] == sorted(record["ts"] for record in records)
    assert (project.root / "logs/latest.log").read_text().count("\n") > len(records)


def test_basic_runs_without_a_tunnel(project: Project) -> None:
    """No ngrok, the bridge's own address is the public URL, and a second basic keeps what runs."""
    first = project.json("basic")
    assert first["exit_code"] == 0, first["findings"]
    names = {row["name"] for row in first["data"]["services"]}
    assert {"websocket-server", "webapp"} <= names
    assert "ngrok" not in names
    assert first["data"]["public_url"] == f"http://127.0.0.1:{project.environ['WEBSOCKET_PORT']}"
    again = project.json("basic")["data"]["services"]
    assert [row["pid"] for row in again] == [row["pid"] for row in first["data"]["services"]]
