"""The Realtime session is asked for with the very settings of the bridge."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ops.vendors.openai import checks
from ops.world import World
from tests.standin import StandIn

TOOL = {"type": "function", "name": "opening_hours", "parameters": {"type": "object", "properties": {}}}


def test_the_bridges_tools_are_part_of_the_settings(root: Path) -> None:
    """What the running bridge offers is sent, and told; without a running stack there is nothing to offer."""
    with StandIn(tools=[TOOL]).up() as standin:
        settings = standin.settings(root)
        running = {"services": [{"name": "websocket-server"}]}
        found = checks.realtime(World.of(settings, today=date(2026, 11, 23), stack=running))
        assert found.status == "ok"
        assert found.evidence["tools"] == ["opening_hours"]
        assert standin.update["session"]["tools"] == [TOOL]
        found = checks.realtime(World.of(settings, today=date(2026, 11, 23)))
        assert found.evidence["tools"] == []
        assert "tools" not in standin.update["session"]
