"""docs/benchmarks.md: each bench writes its own section and leaves the other's alone."""

from __future__ import annotations

from ops.bench.figures import Figure
from ops.bench.page import grid, page, section, title


def test_a_section_says_when_how_and_what() -> None:
    """Command, circumstances, every figure beside its goal, the table, the notes."""
    figures = [
        Figure("bench.stop", "full stop", 120, 250, "ms", "how"),
        Figure("b", "other", 3, 0, outcome=True),
    ]
    text = section(
        "Processes", "inv bench processes", "2026-01-01, a machine", figures, [{"tool": "bare"}], ["note"]
    )
    assert text.startswith("## Processes\n\n`inv bench processes`\n\n2026-01-01, a machine.\n")
    assert "| full stop | 120 ms | at most 250 ms | met | how |" in text
    assert "| other | 3 | 0 | missed |  |" in text
    assert "| bare |" in text
    assert text.endswith("- note\n")


def test_one_section_is_replaced_and_the_other_stays() -> None:
    """Written in any order the page has one heading, both sections once, processes first."""
    once = page("", "Simulators", "## Simulators\n\nold figures\n")
    both = page(once, "Processes", "## Processes\n\nfigures\n")
    anew = page(both, "Simulators", "## Simulators\n\nnew figures\n")
    assert "old figures" in both
    assert "old figures" not in anew
    assert anew.count("# Benchmarks\n") == 1
    assert anew.index("## Processes\n\nfigures") < anew.index("## Simulators\n\nnew figures")
    assert page(anew, "Simulators", "## Simulators\n\nnew figures\n") == anew


def test_a_part_has_a_section_of_its_own() -> None:
    assert title("bridge", ()) == "Bridge"
    assert title("bridge", ("trunkline", "node-ws")) == "Bridge: trunkline, node-ws"


def test_a_part_stands_behind_the_whole() -> None:
    """In whatever order they were written; and a name that nobody knows is the last."""
    text = ""
    for name in ("Other", "Doctor", "Bridge: trunkline, node-ws", "Bridge: churn", "Bridge", "Processes"):
        text = page(text, name, f"## {name}\n\nfigures\n")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    whole = ["Processes", "Bridge", "Bridge: trunkline, node-ws", "Bridge: churn", "Doctor", "Other"]
    assert titles == whole


def test_a_row_with_fewer_cells_leaves_the_rest_empty() -> None:
    """What is absent has a short row; the columns are those of the longest."""
    rows = [{"tool": "x"}, {"tool": "y", "ms": "3"}]
    assert grid(rows).splitlines() == ["| tool | ms |", "| --- | --- |", "| x |  |", "| y | 3 |"]
