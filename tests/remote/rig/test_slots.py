"""Slots under real systemd and HAProxy: calls outlive a deploy, a bad release changes nothing, back in seconds."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ops.bench.rig.outside import RigHost
from ops.config import Settings
from ops.doctor import knock, preflight
from ops.doctor.preflight import Phone
from ops.net.probe import opened
from tests.conftest import REPOSITORY
from tests.remote.rig.conftest import Fleet
from tests.remote.test_deploy import INV, commit, in_force, under_git

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(120)]
PORT, MODEL = 8000, 8102
UNDER_TEST = "[Service]\nPrivateTmp=no\nProtectHome=no\n"  # the checkout may lie in /tmp or in a home


class Site:
    """One host with a model of its own, a project that is deployed to it, and callers from here."""

    def __init__(self, fleet: Fleet, host: RigHost, edge: RigHost | None = None) -> None:
        self.fleet, self.host = fleet, host
        self.project = under_git(fleet.desk)
        rows = {
            "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
            "TWILIO_PHONE_NUMBER": "+12025550100", "TWILIO_AGENT_NUMBER": "+12025550199",
            "OPENAI_API_KEY": f"sk-{secrets.token_hex(20)}", "PUBLIC_URL": f"http://127.0.0.1:{PORT}",
            "OPENAI_REALTIME_URL": f"ws://127.0.0.1:{MODEL}/v1/realtime",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{MODEL}/v1", "TWILIO_API_URL": "http://127.0.0.1:9",
        }  # fmt: skip
        env = self.project.root / "slots.env"
        env.write_text("".join(f"{name}={text}\n" for name, text in rows.items()))
        env.chmod(0o600)
        path = f"{fleet.path}-slots"
        self.project.add("site", address=host.address, user="root", path=path, env_file="slots.env")
        if edge is not None:
            self.project.add("edge", address=edge.address, user="root", path=fleet.path, role="proxy")
        with (self.project.root / "ops.toml").open("a") as file:
            file.write(f"[proxy]\nport = {PORT}\nmax_calls = 50\ndrain_hours = 1\n")
        self.base = host.root / path.lstrip("/")
        self.settings = replace(
            Settings.load(Path("/nonexistent"), rows, files=False),
            door_at=f"http://{(edge or host).address}:{PORT}",
        )
        dropin = host.root / "etc/systemd/system/trunkline@.service.d"
        dropin.mkdir(parents=True, exist_ok=True)
        (dropin / "test.conf").write_text(UNDER_TEST)
        host.run("chmod", "711", "/root")  # the Python of the tests may lie there
        ran = host.run(
            "systemd-run", "--unit=model", "--working-directory=/srv", f"--setenv=PYTHONPATH={REPOSITORY}",
            f"--setenv=OPENAI_API_KEY={rows['OPENAI_API_KEY']}", sys.executable, "-m",
            "ops.vendors.openai.simulator", f"--port={MODEL}"
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        knocked = f"import socket; socket.create_connection(('127.0.0.1', {MODEL}), 1)"
        until(lambda: host.run("python3", "-c", knocked).returncode == 0)

    def inv(self, *words: str, code: int = 0) -> dict[str, object]:
        found = self.fleet.json(*words, hosts="site", code=code)
        return dict(found["data"]["hosts"]["site"])

    def state(self, slot: str) -> str:
        return self.host.run("systemctl", "is-active", f"trunkline@{slot}").stdout.strip()

    def status(self, slot: str) -> str:
        shown = self.host.run("systemctl", "show", "--property=StatusText", "--value", f"trunkline@{slot}")
        return shown.stdout.strip()

    def call(self) -> Caller:
        """A live call through HAProxy."""
        return Caller(self.settings)


class Caller:
    """Somebody who rings through HAProxy, listens, and stays on the line: 50 frames a second, marks returned."""

    def __init__(self, settings: Settings) -> None:
        fields = knock.form(settings)
        answer = knock.webhook(settings, f"http://127.0.0.1:{PORT}/twiml", fields=fields)
        twiml = knock.parse_twiml(answer.text)
        assert twiml.stream_url, answer.text
        self.slot = twiml.stream_url.rpartition("/")[2].removeprefix("site-")
        self.phone = Phone("MZ" + secrets.token_hex(16))
        start = {
            "accountSid": fields["AccountSid"], "streamSid": self.phone.stream_sid,
            "callSid": fields["CallSid"], "tracks": ["inbound"], "customParameters": dict(twiml.parameters),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }  # fmt: skip
        self._stack = ExitStack()
        headers = {knock.HEADER: knock.sign(settings, twiml.stream_url)}
        line = opened(knock.reached(settings, twiml.stream_url), headers=headers)
        self._socket = self._stack.enter_context(line).socket
        self._socket.send(self.phone.message("start", 1, start=start))
        self._hung_up = threading.Event()
        self.cut: BaseException | None = None
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    def _stay(self) -> None:
        try:
            while not self._hung_up.is_set():
                preflight._tick(self._socket, self.phone, preflight.SILENCE)
        except BaseException as problem:
            self.cut = problem

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._hung_up.set()
        self._thread.join(5)
        with suppress(Exception):
            self._stack.close()

    def lives(self) -> bool:
        """The line is up, and the agent has been heard."""
        return self.cut is None and len(self.phone.heard) > 1600


def until(true: Callable[[], bool], told: Callable[[], object] = str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


@pytest.fixture
def site(fleet: Fleet) -> Site:
    return Site(fleet, fleet.hosts[0])


def test_calls_outlive_a_deploy_and_a_rollback(site: Site) -> None:
    """The old slot keeps its calls to their end, new ones go to the new slot; back takes seconds, also while
    the slot before still drains; a release that does not come up changes nothing."""
    grown = site.base / "shared/logs/old.jsonl"
    grown.parent.mkdir(parents=True)
    grown.write_text('{"ts":"2025-11-01T00:00:00Z"}\n')
    past = grown.parent / f"calls/CA{secrets.token_hex(16)}"
    past.mkdir(parents=True)
    os.utime(past, (0, 0))
    first = site.inv("deploy")
    assert (first["slot"], site.state("blue"), in_force(site.base)) == ("blue", "active", "one")
    until(lambda: not grown.exists() and any((grown.parent / "archive").glob("old-*.jsonl")))
    until(lambda: not past.exists())
    assert (site.base / "current").readlink() == Path("slots/blue")
    again = site.inv("deploy")
    assert (again["slot"], again["started"], again["reloaded"]) == ("blue", False, False)
    with ExitStack() as calls:
        old = [calls.enter_context(site.call()) for _ in range(3)]
        assert {one.slot for one in old} == {"blue"}
        until(lambda: site.status("blue") == "calls=3")
        commit(
            site.project, agent_txt="two", inv=INV.replace("PYTHONPATH", "id -un >logs/$1.who; PYTHONPATH")
        )
        plan = site.inv("deploy", "--dry-run")
        assert (plan["slot"], plan["starts"], plan["drains"]) == ("green", True, ["blue"])
        second = site.inv("deploy")
        assert (second["slot"], second["drains"], in_force(site.base)) == ("green", ["blue"], "two")
        assert (site.base / "shared/logs/validate.who").read_text() == "trunkline\n"
        assert site.state("blue") == "deactivating"
        told = site.inv("status")["report"]["data"]  # type: ignore[index]
        named = {row["name"]: (row["state"], row["port"]) for row in told["services"]}
        assert named == {"trunkline@blue": ("unready", 18081), "trunkline@green": ("ready", 18082)}
        assert told["live_calls"] == 3
        new = calls.enter_context(site.call())
        assert new.slot == "green"
        until(
            lambda: all(one.lives() for one in (*old, new)),
            lambda: [(one.cut, len(one.phone.heard)) for one in (*old, new)],
        )
        assert site.host.run("systemctl", "reload", "haproxy").returncode == 0
        with site.call() as one:
            assert one.slot == "green"

        commit(site.project, agent_txt="broken", inv='#!/bin/sh\n[ "$1" = start ] && exit 1; exit 0\n')
        failed = site.inv("deploy", code=3)
        assert "does not come up" in str(failed["reason"])
        assert "marked bad" in str(site.inv("deploy", code=3)["reason"])
        assert (in_force(site.base), site.state("green")) == ("two", "active")

        back = site.inv("rollback")
        assert (back["slot"], in_force(site.base)) == ("amber", "one")
        with site.call() as one:
            assert one.slot == "amber"
        assert [one.cut for one in (*old, new)] == [None] * 4
    until(lambda: site.state("blue") == "inactive" and site.state("green") == "inactive")
    listed = site.inv("releases")["releases"]
    assert [row["state"] for row in listed if row["id"] == second["to"]] == ["bad"]  # type: ignore[attr-defined]


def test_a_proxy_on_another_host(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """It is told over SSH which slot gets new calls; a call through it outlives the deploy."""
    if not request.config.getoption("--long"):
        pytest.skip("two more deploys with their proofs: --long")
    site = Site(fleet, fleet.hosts[1], edge=fleet.hosts[2])
    site.inv("deploy")
    with site.call() as old:
        until(old.lives)
        commit(site.project, agent_txt="two")
        second = site.inv("deploy")
        assert (second["slot"], second["drains"]) == ("green", ["blue"])
        with site.call() as new:
            assert (old.slot, new.slot) == ("blue", "green")
            until(new.lives)
            assert old.lives()
    until(lambda: site.state("blue") == "inactive")
    weights = (fleet.hosts[2].root / "etc/haproxy/haproxy.cfg").read_text()
    assert "server site-green" in weights
    assert not (fleet.hosts[1].root / "etc/haproxy/haproxy.cfg").read_text().startswith("# Written by deploy")


def test_a_deploy_killed_while_the_new_slot_is_proven(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """What was in force still is, its calls live, and the same command goes on with the slot that was started."""
    if not request.config.getoption("--long"):
        pytest.skip("two more deploys with their proofs: --long")
    site = Site(fleet, fleet.hosts[2])
    first = str(site.inv("deploy")["slot"])
    with site.call() as old:
        until(old.lives)
        commit(site.project, agent_txt="two")
        with site.fleet.desk.popen("-H", "site", "deploy") as command:
            until(lambda: sum(site.state(name) == "active" for name in ("blue", "green", "amber")) == 2)
            (work,) = [one for one in site.host.processes() if "receiver" in " ".join(one.cmdline()[:3])
                       and one.name().startswith("python")]  # fmt: skip
            work.kill()
            command.communicate(timeout=40)
        assert command.returncode == 3
        assert in_force(site.base) == "one"
        again = site.inv("deploy")
        assert (again["started"], in_force(site.base)) == (False, "two")
        assert again["slot"] != first
        assert old.cut is None
