"""The catalogue of faults as people read it is the one that the simulators obey."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.vendors.faults import Fault
from ops.vendors.ngrok.simulator import faults as ngrok
from ops.vendors.openai.simulator import faults as openai
from ops.vendors.twilio.simulator import faults as twilio

PAGE = Path(__file__).parents[2] / "docs" / "simulators.md"


def row(fault: Fault) -> str:
    numbers = ", ".join(f"`{name}` {value:g}" for name, value in fault.defaults.items())
    return f"| `{fault.name}` | {numbers or '–'} | {fault.about} |"


@pytest.mark.parametrize(
    ("vendor", "catalogue"),
    [("Twilio", twilio.catalogue()), ("OpenAI", openai.catalogue()), ("ngrok", ngrok.catalogue())],
)
def test_the_documented_faults_are_those_that_there_are(vendor: str, catalogue: Mapping[str, Fault]) -> None:
    """docs/simulators.md lists each by name, with its numbers and what it does, in the catalogue's order."""
    [section] = re.findall(rf"^### {vendor}\n(.*?)(?=^##)", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [row(fault) for fault in catalogue.values()]
