"""docs/benchmarks.md as text: one section for each bench, the others left as they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.bench.figures import Figure

TITLE = "# Benchmarks"
INTRODUCTION = (
    "Written by the commands named in it; run them again to compare. Each section is one run on one\n"
    "machine: compare within a section, not between machines."
)
ORDER = (
    "Processes",
    "Bridge",
    "Bridge: churn",
    "Simulators",
    "Deploy",
    "Deploy: times",
    "Deploy: calls",
    "Deploy: cuts",
    "Doctor",
)


def title(bench: str, only: Sequence[str]) -> str:
    """The name of its section: what was measured alone does not take the place of the whole."""
    return bench.capitalize() + (f": {', '.join(only)}" if only else "")


def section(
    name: str,
    command: str,
    circumstances: str,
    figures: Sequence[Figure],
    rows: Sequence[Mapping[str, str]],
    notes: Sequence[str],
) -> str:
    """One bench's part: when, where, how; goals; the table; what to know about it."""
    parts = [f"## {name}", f"`{command}`", f"{circumstances}."]
    if figures:
        parts.append(grid([_goal_row(one) for one in figures]))
    if rows:
        parts.append(grid(rows))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def page(before: str, name: str, text: str) -> str:
    """The whole page with this section in its place; every other section stays."""
    sections = dict(_sections(before)) | {name: text}
    ordered = [sections[one] for one in sorted(sections, key=_place)]
    return "\n".join([f"{TITLE}\n\n{INTRODUCTION}\n", *ordered])


def _place(name: str) -> tuple[int, bool]:
    """A section stands where its name does, a part that has no place of its own behind the whole."""
    place = max((at for at, known in enumerate(ORDER) if name.startswith(known)), default=len(ORDER))
    return place, name not in ORDER


def grid(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a Markdown table; the first row's keys are the columns unless a later one has more."""
    columns = max((list(row) for row in rows), key=lambda names: len(names))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _goal_row(one: Figure) -> dict[str, str]:
    return {"figure": one.what, "measured": one.text, "goal": one.goal_text, "": one.verdict, "how": one.note}


def _sections(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("## "):
            found.append((line[3:].strip(), []))
        if found:
            found[-1][1].append(line)
    return [(title, "\n".join(lines).strip() + "\n") for title, lines in found]
