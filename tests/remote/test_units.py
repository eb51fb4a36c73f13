"""The slots: which one takes a release, what systemd says of their unit, and what the bridge tells systemd."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from ops.apps.notify import notify
from ops.errors import OpsError
from ops.remote import units
from ops.remote.receiver.plan import Slot, leftovers, slot_for

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed here")


def analyze(folder: Path, unit: str, *verb: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    (folder / "trunkline@.service").write_text(unit)
    return subprocess.run(
        [ANALYZE, *verb, folder / "trunkline@.service"],
        capture_output=True, text=True, check=False, env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin"},
    )  # fmt: skip


@needs_systemd
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """Its exposure is at most 2.0 of 10, as systemd itself judges it; one without its limits is far off."""

    def exposure(unit: str) -> float:
        said = analyze(tmp_path, unit, "security", "--offline=true").stdout
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found, said
        return float(found[1])

    unit = units.template("/srv/trunkline", 4)
    assert exposure(unit) <= 2.0
    assert exposure(re.sub(r"^(Protect|Private|Restrict|System|Cap).*\n", "", unit, flags=re.M)) > 5.0


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """Nothing is unknown to it, but for the program, which is not here."""
    said = analyze(tmp_path, units.template(str(tmp_path), 0.5), "verify").stderr.splitlines()
    assert not [line for line in said if "is not executable" not in line], said
    assert any(
        "Unknown key" in line
        for line in analyze(tmp_path, "[Service]\nFoo=1\n", "verify").stderr.splitlines()
    )
    assert "TimeoutStopSec=1800\n" in units.template(str(tmp_path), 0.5)


@pytest.mark.parametrize(
    "path", ["/srv/x\nUser=root", "/srv/%h", "/srv/a b", "srv/x", "/srv/../etc", "/", "", '/srv/"x']
)
def test_no_path_gets_out_of_its_line(path: str) -> None:
    """A path that systemd would read as something else makes no unit."""
    with pytest.raises(OpsError, match="No unit can be made"):
        units.template(path, 4)


def slots(**states: str) -> list[Slot]:
    """`blue="running:a"`: the state, and the release after the colon."""
    return [
        Slot(name, text.partition(":")[2] or None, text.partition(":")[0]) for name, text in states.items()
    ]


@pytest.mark.parametrize(
    ("states", "in_force", "taken"),
    [
        ({"blue": "free", "green": "free"}, None, "blue"),
        ({"blue": "running:old", "green": "free:new"}, "blue", "green"),
        ({"blue": "running:new", "green": "free"}, "blue", "blue"),  # again: nothing is started
        ({"blue": "free:new", "green": "free"}, "blue", "blue"),  # in force, and it has died
        ({"blue": "running:old", "green": "running:new"}, "blue", "green"),  # a deploy was cut off after its start
        ({"blue": "leaving:new", "green": "running:old", "amber": "free"}, "green", "amber"),  # back, while it drains
        ({"blue": "leaving:a", "green": "running:b"}, "green", None),
        ({"blue": "free:old", "green": "leaving:x"}, "blue", None),  # what is in force is not replaced in place
    ],
)  # fmt: skip
def test_the_slot_for_a_release(states: dict[str, str], in_force: str | None, taken: str | None) -> None:
    """The one that runs it, else a free one; never one with calls, never the one in force under another release."""
    found = slot_for(slots(**states), in_force, "new")
    assert (found.name if found else None) == taken


def test_what_a_dead_deploy_left_is_ended() -> None:
    """Whatever runs and is neither in force nor wanted; what drains already is left alone."""
    assert leftovers(slots(blue="running:a", green="running:b", amber="leaving:c"), "blue", None) == (
        "green",
    )


def test_systemd_is_told_with_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a path, and to an abstract name; nothing happens where nobody listens or nobody asked."""
    for address in (str(tmp_path / "notify"), f"@trunkline-{tmp_path.name}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address.replace("@", "\0", 1))
            systemd.settimeout(5)
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            notify("READY=1", "STATUS=calls=0")
            assert systemd.recv(100) == b"READY=1\nSTATUS=calls=0"
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
