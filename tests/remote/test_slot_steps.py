"""A host's slots, step by step, against a systemctl that writes down what it is asked."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ops.remote import build, deliver, units
from ops.remote.receiver.files import Refusal
from ops.remote.receiver.program import answer
from tests.remote.test_receiver import OURS

SYSTEMCTL = """#!/bin/sh
cd {folder}
echo "$*" >> asked
shift
case $1 in
show) shift 2; for unit; do
    printf 'Id=%s\\nActiveState=%s\\nStatusText=%s\\n\\n' "$unit" "$(cat $unit.state 2>/dev/null || echo inactive)" calls=2
done;;
start) [ -e broken ] && exit 1; echo active > $2.state;;
stop|kill) for unit; do [ -e $unit.state ] && echo inactive > $unit.state; done; true;;
enable) ln -s x wants/$3;;
disable) rm wants/$3;;
esac
"""
PORTS = units.ports()


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class HostOfSlots:
    """A host on which releases are put into slots, and what its systemd is asked."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.path, self.port = folder, folder / "base", port

    def deploy(
        self, text: str, proof: str = "exit 0", *, deep: bool = False, heard: bool = True, cut: bool = False
    ) -> dict[str, Any]:
        files = (build.File("inv", f"#!/bin/sh\n[ $1 = --list ] || {proof}\n".encode(), executable=True),
                 build.File("agent.txt", text.encode()))  # fmt: skip
        load = deliver.cargo(build.Project(files, "label", 0), (), None)
        self.path.mkdir(exist_ok=True)
        (self.path / "in.tar").write_bytes(build.bundle([file.data for file in files]))
        look = {"do": "look", "id": load.id, "ports": PORTS}
        slot = answer(str(self.path), {"steps": [look]})["slot"]
        up = {
            "do": "slot", "id": load.id, "slot": slot, "ports": dict.fromkeys(PORTS, self.port),
            "user": getpass.getuser(), "unit": "", "env": dict.fromkeys(PORTS, ""), "deep": deep,
        }  # fmt: skip
        steps = [
            {"do": "lock"}, {"do": "absorb", "bundle": "in.tar"}, {"do": "install", "manifest": load.manifest}, up,
            {"do": "switch", "id": load.id, "slot": slot}, {"do": "balance"}, {"do": "drain", "ports": PORTS},
            {"do": "unlock"},
        ]  # fmt: skip
        steps = steps[:-3] if cut else steps
        try:
            return answer(str(self.path), {"steps": steps, **OURS})
        except Refusal:
            if heard:
                answer(str(self.path), {"steps": [{"do": "condemn"}, {"do": "unlock"}], **OURS})
            raise

    def asked(self) -> list[str]:
        """What systemctl was asked since the last time, by its verb."""
        file = self.folder / "asked"
        found = [line.split()[1] for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def active(self) -> list[str]:
        """The units that are active."""
        states = self.folder.glob("*.state")
        return sorted(one.stem for one in states if one.read_text() == "active\n")

    @property
    def in_force(self) -> str:
        return (self.path / "current/agent.txt").read_text()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostOfSlots]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "wants").mkdir()
    for name, text in (("systemctl", SYSTEMCTL.format(folder=tmp_path)), ("journalctl", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr("ops.remote.receiver.units.UNIT", tmp_path / "trunkline@.service")
    monkeypatch.setattr("ops.remote.receiver.units.WANTS", tmp_path / "wants")
    monkeypatch.setattr("ops.remote.receiver.balancer.Balancer.balance", lambda *_: {})
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield HostOfSlots(tmp_path, server.server_address[1])
        server.shutdown()
        thread.join()


def test_the_same_again_costs_systemd_nothing(host: HostOfSlots) -> None:
    """One question each to choose, to start and to drain; nothing that has systemd read its files again."""
    host.deploy("one")
    host.asked()
    assert host.deploy("one")["started"] is False
    assert host.asked() == ["show"] * 3
    changed = host.deploy("two")
    assert changed["drains"] == ("blue",)
    assert [one.name for one in (host.folder / "wants").iterdir()] == ["trunkline@green.service"]
    assert sorted(host.asked()) == [
        "disable",
        "enable",
        "reset-failed",
        "show",
        "show",
        "show",
        "start",
        "stop",
    ]


@pytest.mark.parametrize(
    "how", ["does not come up", "is not healthy", "fails validate --deep", "does not end"]
)
def test_a_release_that_fails_in_its_slot_is_bad(
    host: HostOfSlots, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in force still is; the same again is refused at once, and says why; another one goes through."""
    if "deep" in how or "end" in how:
        if os.getuid():
            pytest.skip("the proof is run as the service's user: needs root")
        monkeypatch.setattr("ops.remote.receiver.units.PROOF", 0.3)
    host.deploy("one")
    port = host.port
    host.port = 1 if how == "is not healthy" else port
    if how == "does not come up":
        (host.folder / "broken").touch()
    proof = {"fails validate --deep": "exit 3", "does not end": "exec sleep 9"}.get(how, "exit 0")
    with pytest.raises(Refusal, match=how):
        host.deploy("two", proof, deep=True)
    assert host.in_force == "one"
    assert host.active() == ["trunkline@blue.service"]
    (host.folder / "broken").unlink(missing_ok=True)
    host.port = port
    host.asked()
    with pytest.raises(Refusal, match=f"was marked bad: its slot {how}"):
        host.deploy("two", proof, deep=True)
    assert "start" not in host.asked()
    assert host.deploy("three", deep=True)["started"] is True
    assert host.in_force == "three"


def test_a_failure_that_nobody_heard_of_is_no_mark(host: HostOfSlots) -> None:
    """The desk was cut off, as the vendors were perhaps: the same deploy tries again, and may succeed."""
    host.deploy("one")
    (host.folder / "broken").touch()
    with pytest.raises(Refusal, match="does not come up"):
        host.deploy("two", heard=False)
    with pytest.raises(Refusal, match="does not come up"):
        host.deploy("three")  # whose mark is its own
    (host.folder / "broken").unlink()
    assert host.deploy("two")["started"] is True
    assert host.in_force == "two"


def test_a_release_that_was_in_force_stays_a_way_back(host: HostOfSlots) -> None:
    """When an earlier release is deployed again and does not come up, it is the host that fails: not its mark."""
    for text in ("one", "two"):
        host.deploy(text)
    (host.folder / "broken").touch()
    with pytest.raises(Refusal, match="does not come up"):
        host.deploy("one")
    assert not list(host.path.glob("releases/*/BAD"))
    (host.folder / "broken").unlink()
    host.deploy("one")
    assert host.in_force == "one"


def test_where_the_proxy_fails_the_slot_before_is_in_force_again(
    host: HostOfSlots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New calls did not leave it, or not all; so both stay up. The mended deploy goes through; nothing is bad."""

    def refuse(*_: object) -> dict[str, Any]:
        assert host.in_force == "two"
        raise Refusal("haproxy does not take its configuration", "correct [proxy]")

    host.deploy("one")
    with monkeypatch.context() as proxy:
        proxy.setattr("ops.remote.receiver.balancer.Balancer.balance", refuse)
        with pytest.raises(Refusal, match="does not take"):
            host.deploy("two")
    assert host.in_force == "one"
    assert host.active() == ["trunkline@blue.service", "trunkline@green.service"]
    rows = [json.loads(line) for line in (host.path / "audit.jsonl").read_text().splitlines()]
    assert [(row["action"], row["slot"]) for row in rows[1:]] == [("deploy", "green"), ("return", "blue")]
    with pytest.raises(Refusal, match="no earlier good release"):
        answer(str(host.path), {"steps": [{"do": "lock"}, {"do": "back"}], **OURS})
    assert host.deploy("two")["drains"] == ("blue",)
    assert host.in_force == "two"
    answer(str(host.path), {"steps": [{"do": "lock"}, {"do": "rollback"}, {"do": "unlock"}], **OURS})
    assert host.in_force == "one"


def test_a_slot_that_the_proxy_may_still_lead_to_is_not_ended_first(host: HostOfSlots) -> None:
    """A deploy was cut off between its switch and the proxy: the next one, of something else, ends the slot
    with the calls only when new ones are led elsewhere."""
    host.deploy("one")
    host.deploy("two", cut=True)
    assert host.in_force == "two"
    host.asked()
    assert sorted(host.deploy("three")["drains"]) == ["blue", "green"]
    asked = host.asked()
    assert asked.index("start") < asked.index("stop")


def test_the_proof_sees_nothing_of_the_login(host: HostOfSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our login's environment holds is not the service's."""
    if os.getuid():
        pytest.skip("the proof is run as the service's user: needs root")
    monkeypatch.setenv("OPENAI_MODEL", "of-the-login")
    assert host.deploy("one", '[ -z "$OPENAI_MODEL" ]', deep=True)["started"] is True
