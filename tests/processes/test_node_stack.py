"""A user's own stack of Node programs, as ops.toml describes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.config import Settings
from ops.services import table
from tests.processes.conftest import Rig, kill, until

OPS_TOML = """
[services.webapp]
command = "node app.mjs"
cwd = "webapp"
port = {web}
env_file = "webapp/.env"

[services.websocket-server]
command = ["node", "app.mjs"]
cwd = "websocket-server"
port = {socket}
ready = "/"
after = ["webapp"]
"""


@pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed; the Node stack cannot be tried"
)
def test_ten_lines_run_a_node_stack(rig: Rig) -> None:
    """Two Node programs start in order, come back when killed, log into the journal, and leave nothing."""
    program = Path(__file__).parent / "programs" / "serve.mjs"
    for folder in ("webapp", "websocket-server"):
        (rig.root / folder).mkdir()
        shutil.copy(program, rig.root / folder / "app.mjs")
    (rig.root / "webapp" / ".env").write_text("COLOUR=blue\n")
    (rig.root / "ops.toml").write_text(OPS_TOML.format(web=rig.port(), socket=rig.port()))
    rig.settings = Settings.load(rig.root, {})
    services = table(rig.settings)
    outcome = rig.start(*services)
    assert [row["state"] for row in outcome.data["services"]] == ["ready", "ready"]
    assert "COLOUR=blue" in Path(f"/proc/{rig.pid('webapp')}/environ").read_text()
    kill(rig.who("webapp"))
    until(lambda: rig.stands("webapp", state="ready", restarts=1))
    until(lambda: "listening on" in (rig.files.logs / "latest.log").read_text())
    data = rig.stop().data
    assert data["left"] == []
    assert data["ports_freed"] == sorted(port for service in services for port in service.ports)
