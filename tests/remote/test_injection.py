"""Two hundred harmful texts in each place that takes one from a person or a host: refused, or only a text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.remote import forward, hosts, proxy, units
from ops.remote.proxy import Proxy, Server
from ops.remote.receiver.base import Base
from ops.remote.receiver.files import Refusal
from ops.remote.receiver.program import answer
from tests.remote.conftest import as_sshd
from tests.remote.payloads import PAYLOADS

PLAIN = re.compile(r"[A-Za-z0-9._:@\[\]%-]+", re.ASCII)  # nothing of it means anything to a shell


def test_there_are_enough() -> None:
    """As many as promised, all different."""
    assert len(set(PAYLOADS)) >= 200


def test_arguments_arrive_as_they_were_typed(tmp_path: Path) -> None:
    """Through both shells of the real command line each one is a text, and nothing else runs."""
    inv = tmp_path / "host/current/inv"
    inv.parent.mkdir(parents=True)
    inv.write_text("#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n")
    inv.chmod(0o755)
    line = forward.command(str(tmp_path / "host"), ("one", *PAYLOADS), "w0rd")
    done = as_sshd(line, tmp_path)
    arrived = done.stdout.partition(b"\n")[2].decode().split("\0")[:-1]
    assert arrived == ["one", *PAYLOADS]
    assert not list(tmp_path.rglob("HIT"))


@pytest.mark.parametrize(
    "key", ["address", "user", "path", "jump", "role", "inside", "groups", "port", "slot_port"]
)
def test_hosts_of_a_file(key: str) -> None:
    """A row is refused, or what it gives is harmless; `path` never leads up."""
    for payload in PAYLOADS:
        found, faults = hosts.read({"hosts": {"web1": {key: [payload] if key == "groups" else payload}}})
        if not faults:
            value = found["web1"].groups[0] if key == "groups" else str(getattr(found["web1"], key) or "x")
            assert PLAIN.fullmatch(value) or (key == "path" and hosts.PATH.fullmatch(value)), (key, payload)
            assert ".." not in value.split("/")


def test_hosts_of_a_command_line() -> None:
    """As the text of -H, and as a name in ops.toml."""
    for payload in PAYLOADS:
        chosen, faults = hosts.choose(payload, {})
        assert faults or all(PLAIN.fullmatch(one.name) for one in chosen), payload
        named, wrong = hosts.read({"hosts": {payload: {}}})
        assert wrong or all(PLAIN.fullmatch(name) for name in named), payload


def test_names_of_releases(tmp_path: Path) -> None:
    """None of them names a release, and no folder comes of it."""
    base = Base(str(tmp_path))
    for payload in PAYLOADS:
        with pytest.raises(Refusal, match="names no release"):
            base.release(payload)
    assert not list(tmp_path.iterdir())


def test_reasons_and_holders(tmp_path: Path) -> None:
    """They are kept as they are, each in the one line that is theirs."""
    for payload in PAYLOADS[::5]:
        ours = {"token": "t", "holder": payload, "place": "p", "reason": payload, "take": True}
        answer(str(tmp_path), {"steps": [{"do": "lock"}], **ours})
        held = json.loads((tmp_path / "lock.json").read_text())
        assert (held["reason"], held["holder"]) == (payload, payload)
        Base(str(tmp_path)).append("audit.jsonl", {"reason": payload})
    lines = (tmp_path / "audit.jsonl").read_text("utf-8").split("\n")
    assert [json.loads(line)["reason"] for line in lines[:-1]] == PAYLOADS[::5]


def test_units_and_proxies() -> None:
    """What would be another line or another word there makes no unit and no configuration."""
    for payload in PAYLOADS:
        try:
            unit = units.template(f"/srv/{payload}", 4)
            assert re.fullmatch(r"[A-Za-z0-9._/-]+", payload), payload
            assert len(unit.splitlines()) == len(units.template("/srv/x", 4).splitlines())
        except OpsError:
            pass
        for server in (Server(payload, "10.0.0.1", 1, 0), Server("x", payload, 1, 0)):
            try:
                text = proxy.configuration(Proxy(), [server])
                assert re.fullmatch(r"[A-Za-z0-9.\[\]:_-]+", payload), payload
                assert text.count("\n") == proxy.configuration(Proxy(), [Server("x", "y", 1, 0)]).count("\n")
            except ValueError:
                pass
