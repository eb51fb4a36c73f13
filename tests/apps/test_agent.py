"""What one call's agent may do: the one number it may connect a caller to, and the tools it is told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.apps.agent import agent_of
from ops.apps.tickets import Terms
from ops.apps.tools import Toolbox
from ops.config import Settings

COLLEAGUE, CALLER = "+12025550142", "+12025550123"


@pytest.mark.parametrize(
    ("number", "party", "transfers"),
    [
        (COLLEAGUE, CALLER, True),
        (COLLEAGUE, COLLEAGUE, False),  # who would be connected to themselves
        (COLLEAGUE, "", False),  # nobody knows to whom
        ("", CALLER, False),
    ],
)
def test_a_caller_is_connected_to_one_number_at_most(
    root: Path, number: str, party: str, transfers: bool
) -> None:
    """The number of the settings, and only where the model is offered the tool for it."""
    settings = Settings.load(root, {"TWILIO_AGENT_NUMBER": number}, files=False)
    agent = agent_of(settings, Toolbox(()), Terms(party=party))
    assert agent.transfer_to == (COLLEAGUE if transfers else None)
    names = {definition["name"] for definition in agent.tools}
    assert names == {"hang_up", "transfer_to_agent"} if transfers else {"hang_up"}
