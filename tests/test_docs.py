"""What the documents say is so: every name is documented, every shown output is what comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ops.config import variables
from tests.conftest import Project

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, call SIDs, blanks."""
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "N", re.sub(r"CA[0-9a-f]{32}", "CA…", line))).strip()


def test_the_readme_shows_what_really_comes_out(project: Project) -> None:
    """Each console block is run as it stands; its lines come, in their order (… stands for any lines)."""
    blocks = re.findall(r"```console\n\$ \./inv ([^\n]*)\n(.*?)```", README, re.DOTALL)
    assert blocks
    for command, shown in blocks:
        done = project.inv(*command.split())
        assert done.returncode == 0, done.stdout + done.stderr
        came = [shape(line) for line in done.stdout.splitlines() if line.strip()]
        position, skipping = 0, False
        for line in shown.splitlines():
            if line.strip() == "…":
                skipping = True
            elif line.strip():
                wanted = shape(line)
                found = came.index(wanted, position) if wanted in came[position:] else None
                assert found is not None, f"not in the output: {line}\n{done.stdout}"
                assert skipping or found == position, f"other lines come before: {line}\n{done.stdout}"
                position, skipping = found + 1, False


def test_every_task_is_in_the_readme(project: Project) -> None:
    """The table of tasks is complete, and its flags exist."""
    listed = json.loads(project.inv("--list", "--list-format=json").stdout)["tasks"]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert set(rows) == {task["name"] for task in listed}
    for name, row in rows.items():
        shown = project.inv("--help", name).stdout
        for flag in re.findall(r"`(--[a-z-]+)", row):
            assert flag in shown, f"{name} has no {flag}"


def test_every_setting_is_in_the_example() -> None:
    """.env.example names every variable with a comment above it."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    for name in variables():
        index = next(i for i, line in enumerate(lines) if line.startswith(f"# {name}="))
        assert lines[index - 1].startswith("# ")


def test_links_lead_somewhere() -> None:
    """Relative links of all documents exist."""
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"
