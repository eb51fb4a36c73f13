"""OpenAI's REST client, against a real server that answers as OpenAI does."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ops.net.http import Declined
from ops.vendors.openai.client import models
from tests.standin import StandIn


def test_models_come_with_their_last_day(root: Path) -> None:
    """A shutdown date is read as a day, whether written as a date or as seconds; else it is None."""
    listed = [
        {"id": "a", "shutdown_date": "2027-01-20"},
        {"id": "b", "shutdown_date": 1800403200},
        {"id": "c", "shutdown_date": None},
        {"id": "d", "shutdown_date": "soon"},
    ]
    with StandIn(models=listed).up() as standin:
        found = {one.id: one.shutdown_date for one in models(standin.settings(root))}
    assert found == {"a": date(2027, 1, 20), "b": date(2027, 1, 20), "c": None, "d": None}


def test_a_wrong_key_is_a_refusal_with_its_code(root: Path) -> None:
    """invalid_api_key comes with where to find a valid one."""
    with StandIn().up() as standin, pytest.raises(Declined) as caught:
        models(standin.settings(root, OPENAI_API_KEY="sk-" + "0" * 40))
    assert caught.value.code == "invalid_api_key"
    assert "OPENAI_API_KEY" in caught.value.fix


def test_an_address_without_models_is_an_unknown_question(root: Path) -> None:
    """A stand-in that does not know GET /models has not refused the key."""
    with StandIn().up() as standin, pytest.raises(Declined) as caught:
        models(standin.settings(root, OPENAI_BASE_URL=f"{standin.url}/elsewhere"))
    assert caught.value.unknown_question
