"""Each control is taken away once: exactly then its forgery comes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.controls import Control, call, stream, webhook
from tests.apps.inside import inside, run

CONTROLS = {
    f"{where}: {name}": control
    for where, table in (("webhook", webhook.CONTROLS), ("stream", stream.CONTROLS), ("call", call.CONTROLS))
    for name, control in table.items()
}


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_a_forgery_comes_in_only_without_its_control(
    control: Control, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real socket: refused, and without this one control let in, so nothing else stops it, and it is real."""

    async def came_in() -> bool:
        async with inside(root, control.model(), **control.settings) as one:
            return await control.forgery(one)

    async def scenario() -> None:
        for name, short in control.hurry.items():
            monkeypatch.setattr(name, short)
        assert not await came_in(), "the control does not stop it"
        for name, instead in control.removed.items():
            monkeypatch.setattr(name, instead)
        assert await came_in(), "it does not come in: something else stops it, or it is no forgery"

    run(scenario)
