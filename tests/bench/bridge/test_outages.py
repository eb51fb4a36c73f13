"""Two callers while the model breaks and while the bridge comes and goes: real processes, a short while."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from ops.bench.bridge import outages
from ops.bench.bridge.churn import churn
from ops.bench.bridge.designs import designs, running
from ops.bench.bridge.load import Load, soon
from ops.bench.stage import stage


def test_what_breaks_is_mended_and_what_ends_is_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An interruption clears and truncates; a reset is timed from the break to the next session's echo; callers come and go."""

    async def scenario() -> None:
        ours = designs(tmp_path_factory.mktemp("cache"), {})[0]
        with stage() as here:
            async with Load() as load:
                with running(here, ours, load.model.port, None, None) as bridge:
                    await load.bring_up(bridge.door, 2)
                    # of what nobody has heard yet there is nothing to truncate
                    assert await soon(lambda: all(phone.page.last > 10 for phone in load.phones), 5.0)
                    stopped = await outages.barge_in(load)
                    assert (stopped.calls, stopped.lost) == (2, 0)
                    assert load.model.truncates == {True: 2, False: 0}
                    broken = await outages.reset(load)
                    assert (broken.calls, broken.lost) == (2, 0)
                    assert all(0 < seconds < 2 for seconds in broken.seconds)
                    await load.hang_up()
                    found = await churn(load, bridge, 1.0, 2, random.Random(1))
                    assert (found.failed, found.left) == (0, 0)
                    assert found.calls >= 2
                    assert found.own_kib[0][1] > 0

    asyncio.run(scenario())


def test_what_is_not_mended_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who hears nothing more is a lost call, not a quick one."""
    monkeypatch.setattr(outages, "MENDED", 0.1)

    class Deaf:
        page = type("Page", (), {"sent": 5, "last": 4, "came_at": 1.0})

    class Line:
        phones = (Deaf(),)
        model = type("Model", (), {"reset": lambda self: None, "opened_at": ()})()

    began = time.monotonic()
    found = asyncio.run(outages.reset(Line()))  # type: ignore[arg-type]
    assert (found.lost, found.seconds) == (1, ())
    assert time.monotonic() - began < 8  # not the 12 s of a real run
