"""The stand-in as a program: start, settings, stop, and what it is made of."""

from __future__ import annotations

import ast
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

import ops.vendors.twilio.simulator as package
from tests.vendors.twilio.simulator.conftest import (
    ACCOUNT,
    AGENT,
    PERSON,
    TOKEN,
    customer_at,
    simulator_at,
    wait_for,
)

MODULE = [sys.executable, "-m", "ops.vendors.twilio.simulator"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_without_credentials_it_says_what_is_missing() -> None:
    """Exit code 2 and a sentence, no traceback."""
    result = run("--voice-url=http://127.0.0.1:1/x")
    assert result.returncode == 2
    assert "TWILIO_ACCOUNT_SID" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_setting_is_told_in_a_sentence() -> None:
    """A malformed SID is a settings fault."""
    result = run("--voice-url=http://127.0.0.1:1/x", TWILIO_ACCOUNT_SID="nonsense", TWILIO_AUTH_TOKEN=TOKEN)
    assert result.returncode == 2
    assert "TWILIO_ACCOUNT_SID" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_fault_is_refused(root: Path) -> None:
    """--fault takes names of the catalogue only."""
    result = run(
        "--voice-url=http://127.0.0.1:1/x", f"--root={root}", "--fault=no-such",
        TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN,
    )  # fmt: skip
    assert result.returncode == 2
    assert "rest-limit" in result.stderr


def test_a_port_that_is_taken_is_told_in_a_sentence(root: Path) -> None:
    """Exit code 3, the address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(
            "--voice-url=http://127.0.0.1:1/x", f"--root={root}", f"--port={port}",
            TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN,
        )  # fmt: skip
    assert result.returncode == 3
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_answers_are_not_held_back(free_ports: Callable[[int], list[int]], root: Path) -> None:
    """Of twenty requests on one connection some take less than the 40 ms that Nagle's algorithm costs each."""
    (port,) = free_ports(1)
    with simulator_at(port, "http://127.0.0.1:1/x", root) as simulator:
        took = []
        for _ in range(20):
            began = time.monotonic()
            simulator.http.get("/health")
            took.append(time.monotonic() - began)
        assert min(took[2:]) < 0.035


def test_sigterm_hangs_up_and_ends_it(free_ports: Callable[[int], list[int]], root: Path) -> None:
    """A live call gets its stop message and its last callback; the exit code is 0; no secret is in the logs."""
    web, port, stream = free_ports(3)
    with customer_at(web, stream) as customer:
        customer.answers["/twiml"] = customer.connect()
        process = subprocess.Popen(
            [
                *MODULE,
                f"--port={port}",
                f"--voice-url={customer.url}/twiml",
                f"--root={root}",
                "--fault=rest-limit",
            ],
            env={"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_PHONE_NUMBER": AGENT},
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                wait_for(lambda: _up(http), "the simulator's health")
                calls = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
                order = {
                    "To": PERSON, "From": AGENT, "Url": f"{customer.url}/twiml",
                    "StatusCallback": f"{customer.url}/status",
                }  # fmt: skip
                assert http.post(calls, data=order, auth=(ACCOUNT, TOKEN)).status_code == 429
                assert http.post(calls, data=order, auth=(ACCOUNT, TOKEN)).status_code == 201
                wait_for(lambda: customer.streams and customer.streams[0].of("media"), "the stream")
                assert http.get("/health").json() == {"status": "ok", "live_calls": 1}
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        wait_for(lambda: customer.streams[0].of("stop"), "the stop message")
        assert [hook.form["CallStatus"] for hook in customer.of("/status")] == ["completed"]
    logged = "".join(path.read_text() for path in root.rglob("*.jsonl"))
    assert "simulator.stopped" in logged
    assert TOKEN not in logged


def test_an_api_key_is_accepted_where_it_is_configured(
    free_ports: Callable[[int], list[int]], root: Path
) -> None:
    """REST takes the account's token or a configured key with its secret."""
    key, secret = "SK" + ACCOUNT[2:], TOKEN[::-1] + "x"
    (port,) = free_ports(1)
    keys = {"TWILIO_API_KEY": key, "TWILIO_API_SECRET": secret}
    with simulator_at(port, "http://127.0.0.1:1/x", root, environment=keys) as simulator:
        path = f"/2010-04-01/Accounts/{ACCOUNT}.json"
        assert simulator.http.get(path, auth=(key, secret)).status_code == 200
        assert simulator.http.get(path, auth=(key, "wrong")).status_code == 401
        assert simulator.http.get(path, auth=(ACCOUNT, TOKEN)).status_code == 200


def test_it_knows_nothing_of_what_it_tests() -> None:
    """No file imports our client, wire code, checks, bridge or transport: it is an independent witness."""
    allowed = (
        "ops.vendors.twilio.simulator",
        "ops.speech",
        "ops.journal",
        "ops.config",
        "ops.errors",
        "ops.vendors.faults",
    )
    for path in Path(str(package.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not name.startswith("twilio"), f"{path.name} imports the vendor's SDK"
                fine = name == "ops.vendors" or name.startswith(allowed) or not name.startswith("ops.")
                assert fine, f"{path.name} imports {name}"


def _up(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.TransportError:
        return False
