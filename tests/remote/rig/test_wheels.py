"""A real release with its wheels into a slot of a host that has no package index: with `--long`, a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench import install
from ops.bench.rig.outside import obstacle, rig
from ops.bench.shipping.callers import callers
from ops.bench.shipping.desk import BASE, Desk, Line, give

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(240)]
UV = install.cache() / "venv/bin/uv"
DOOR = "http://127.0.0.1:8000"  # what callers sign for; HAProxy stands on the host itself


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_slot_runs_on_the_wheels_that_came_along(
    installer: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Installed by uv or by pip, proven as the service's user, in force; a change uses the environment again."""
    if not request.config.getoption("--long"):
        pytest.skip("an environment made on a host takes half a minute: --long")
    if problem := obstacle():
        pytest.skip(problem)
    if installer == "uv" and not UV.exists():
        pytest.skip("uv is not there: inv bench deploy --install")
    wheels = install.cache() / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    with rig(1) as alone, callers(alone.gateway) as people:
        host = alone.hosts[0]
        give(UV if installer == "uv" else None, alone)
        asked = "import socket; socket.getaddrinfo('pypi.org', 443)"
        assert host.run("python3", "-c", asked).returncode != 0
        desk = Desk.set_up(tmp_path, alone, wheels, Line(DOOR, people.model(alone.gateway), "port = 8000\n"))
        ran = desk.inv("-H", "host1", "deploy", "--json")
        assert ran.hosts["host1"]["slot"] == "blue"
        base = host.root / BASE.lstrip("/")
        assert ("\nuv = " in (base / "current/.venv/pyvenv.cfg").read_text()) == (installer == "uv")
        assert (
            host.run(f"{BASE}/current/.venv/bin/python", "-c", "import msgspec, picows, uvloop").returncode
            == 0
        )
        again = desk.inv("-H", "host1", "deploy", "--json")
        assert again.hosts["host1"]["started"] is False
        desk.change("two")
        changed = desk.inv("-H", "host1", "deploy", "--json")
        assert changed.hosts["host1"]["slot"] == "green"
        assert len(list((base / "venvs").iterdir())) == 1
        back = desk.inv("-H", "host1", "rollback", "--json")
        took = {"first": ran, "again": again, "changed": changed, "rollback": back}
        print(installer, {name: round(one.seconds, 2) for name, one in took.items()})
