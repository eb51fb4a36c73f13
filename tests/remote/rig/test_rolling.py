"""Three hosts behind one proxy, deployed to under calls, and cut off in the middle: with `--long`, minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench import install
from ops.bench.rig.outside import obstacle
from ops.bench.shipping import cuts, rolling
from ops.bench.shipping.result import BACK_ALL, BEHIND, DEPLOY, NEVER_WELL, Result

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]


@pytest.fixture
def wheels(request: pytest.FixtureRequest) -> Path:
    """Where wheels are kept that were fetched once."""
    if not request.config.getoption("--long"):
        pytest.skip("real releases on three or four hosts take minutes: --long, or `inv bench deploy`")
    if problem := obstacle():
        pytest.skip(problem)
    folder = install.cache() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def uv() -> Path | None:
    path = install.cache() / "venv/bin/uv"
    return path if path.exists() else None


def test_nobody_is_cut_off(wheels: Path, tmp_path: Path) -> None:
    """Thirty calls outlive a deploy over three hosts, a release that is never healthy, and a rollback; every
    new one is taken meanwhile; the bad release stops at the first host."""
    result = Result()
    rolling.rolling(result, 1, tmp_path, wheels, uv(), print)
    assert [one.what for one in result.rolled] == [DEPLOY, NEVER_WELL, BACK_ALL]
    for one in result.rolled:
        assert (one.lived.calls, one.lived.dropped, one.lived.refused) == (30, 0, [])
        assert one.lived.new > 0
    good, bad, back = result.rolled
    assert (good.changed, back.changed) == (BEHIND, BEHIND)
    assert (bad.changed, bad.failed, bad.untouched) == ((), BEHIND[:1], BEHIND[1:])
    assert "/health says 503" in bad.reason


def test_cuts_anywhere_converge(wheels: Path, tmp_path: Path) -> None:
    """Thirty cuts of the link, spread over a deploy: old or new, somebody takes calls, the same command mends."""
    found = cuts.cuts(tmp_path, wheels, uv(), print)
    assert len(found) == 30
    assert [one for one in found if not one.well] == []
    assert sum(one.code != 0 for one in found) > 15
