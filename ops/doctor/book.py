"""The doctor's book: what is known of each fault, as text for a terminal and as pages. Pure.

`python -m ops.doctor` writes the pages to docs/doctor.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.findings import Check, Knowledge
from ops.world import World

GROUPS = {
    "env": "Settings and this machine",
    "port": "Ports",
    "service": "Services",
    "twilio": "Twilio",
    "openai": "OpenAI",
    "ngrok": "The tunnel",
    "websocket": "The media stream",
    "webhook": "The webhook",
    "security": "Security",
    "source": "Source of your own bridge",
    "deep": "The whole line",
}
_MEND = {
    "automatic": "`inv validate --fix` does it",
    "offered": "offered by a command, done when you say so",
    "manual": "by hand",
}


def facts(about: Knowledge) -> tuple[tuple[str, str], ...]:
    """What is known of a fault, as rows in the order in which one reads them."""
    return (
        ("Symptom", about.symptom),
        ("Evidence", about.evidence),
        ("Cause", about.cause),
        ("Fix", about.fix),
        ("Mended", _MEND[about.mend]),
        ("Verified", about.verify),
        ("Asked from", about.vantage),
        ("Source", about.source),
    )


def entry(check: Check[World]) -> str:
    """One rule for a terminal: its id and question, then the rows."""
    rows = facts(check.about) if check.about else ()
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"{check.id}: {check.question}", *(f"  {name:<{width}}  {text}" for name, text in rows)]
    return "\n".join(lines)


def pages(checks: Iterable[Check[World]]) -> dict[str, str]:
    """The pages of docs/doctor by file name: one for each group, and an index."""
    groups: dict[str, list[Check[World]]] = {}
    for check in checks:
        groups.setdefault(check.id.partition(".")[0], []).append(check)
    made = {f"{group}.md": _page(group, members) for group, members in groups.items()}
    count = sum(map(len, groups.values()))
    index = [
        "# The doctor's rules",
        "",
        f"`inv validate` asks these {count} questions; `inv validate --explain ID` prints one of them.",
        "These pages are made by `python -m ops.doctor` from the rules themselves.",
        "",
    ]
    for group, members in groups.items():
        index += [f"- [{GROUPS[group]}]({group}.md): " + ", ".join(f"`{check.id}`" for check in members)]
    return {"README.md": "\n".join(index) + "\n", **made}


def _page(group: str, members: list[Check[World]]) -> str:
    lines = [f"# {GROUPS[group]}", ""]
    for check in members:
        lines += [f"## {check.id}", "", check.question, ""]
        lines += [f"- {name}: {text}" for name, text in facts(check.about)] if check.about else []
        lines += [""]
    return "\n".join(lines)
