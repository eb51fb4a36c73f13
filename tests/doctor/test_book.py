"""The doctor's book is complete, and its pages are those that the rules make."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import checks
from ops.doctor import book
from ops.errors import OpsError

PAGES = Path(__file__).parents[2] / "docs" / "doctor"


def test_every_rule_tells_all_it_should() -> None:
    """Symptom, cause, fix, verification and source of each rule are there; there are at least 45 rules."""
    rules = checks.catalogue()
    assert len(rules) >= 45
    for rule in rules:
        assert rule.about, rule.id
        assert all(text for _, text in book.facts(rule.about)), rule.id
        assert rule.question.endswith("?"), rule.id


def test_the_pages_are_current() -> None:
    """`python -m ops.doctor` was run after the last change of a rule."""
    made = book.pages(checks.catalogue())
    assert {name: (PAGES / name).read_text("utf-8") for name in made} == made
    assert {path.name for path in PAGES.glob("*.md")} == set(made)


def test_one_rule_is_explained_for_a_terminal() -> None:
    """Its question first, then the rows; a misspelled id gets the nearest ones."""
    text = book.entry(checks.explain("source.nameless-mark"))
    assert text.splitlines()[0] == "source.nameless-mark: Does every mark have a name?"
    assert "  Symptom     Barge-in cuts" in text
    with pytest.raises(OpsError, match=r"No check is called webhook\.drfit") as caught:
        checks.explain("webhook.drfit")
    assert "webhook.drift" in caught.value.fix
