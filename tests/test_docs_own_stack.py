"""docs/own-stack.md is true: its example is read as it stands, its table names every key."""

from __future__ import annotations

import re
from pathlib import Path

from ops import own_stack
from ops.config import Settings
from ops.services import table

PAGE = (Path(__file__).parents[1] / "docs/own-stack.md").read_text("utf-8")


def test_the_example_is_a_stack(root: Path) -> None:
    """The documented ops.toml gives the two services of the layout, each with its folder, port and env file."""
    match = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert match
    (root / "ops.toml").write_text(match[1])
    for name in ("webapp", "websocket-server"):
        (root / name).mkdir()
        (root / name / ".env").write_text("SOME=thing\n")
    services = {service.name: service for service in table(Settings.load(root, {}))}
    assert {name: (one.argv[-3:], one.port, one.cwd.name) for name, one in services.items()} == {
        "webapp": (("npm", "run", "dev"), 3000, "webapp"),
        "websocket-server": (("npm", "run", "dev"), 8081, "websocket-server"),
    }
    assert services["webapp"].env["SOME"] == "thing"


def test_every_key_is_documented() -> None:
    """The table names exactly the keys that are read."""
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(own_stack.KEYS)
