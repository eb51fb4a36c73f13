"""What the switchboard and whoever carries a call are to each other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.apps import carriage


def test_who_waits_in_vain_for_a_call_leaves_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It still closes in its own time, and others may wait for that."""
    monkeypatch.setattr(carriage, "CLOSED_WITHIN", 0.0)

    async def scenario() -> None:
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call = cast(Any, SimpleNamespace(closed=closed))
        with pytest.raises(TimeoutError):
            await carriage.gone(call)
        assert not closed.done()
        closed.set_result(None)
        await carriage.gone(call)

    asyncio.run(scenario())
