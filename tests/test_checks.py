"""The loop that asks all checks: needs, deadlines, crashes, secrets, choice."""

from __future__ import annotations

import threading
import time
from datetime import date
from pathlib import Path

import pytest

from ops import checks
from ops.errors import OpsError, Refused, Unreachable
from ops.findings import Check, Finding, fail, ok, unknown
from ops.net.http import Answer, Declined
from ops.world import World
from tests.standin import StandIn


@pytest.fixture
def world(root: Path) -> World:
    standin = StandIn(url="http://127.0.0.1:1")
    return World.of(standin.settings(root), today=date(2026, 11, 23))


def _check(id: str, answer: Finding | Exception, *needs: str, unless: tuple[str, ...] = ()) -> Check[World]:
    def ask(world: World) -> Finding:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Check(id, f"{id}?", ask, needs, unless)


def _statuses(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(one.id, one.status) for one in found]


def test_answers_come_in_the_order_of_the_list(world: World) -> None:
    """One answer for each check, in order, whatever finished first."""
    slow = Check[World]("a.slow", "?", lambda _: (time.sleep(0.1), ok("a.slow", "fine"))[1])
    found = checks.ask([slow, _check("b.fast", ok("b.fast", "fine"))], world)
    assert _statuses(found) == [("a.slow", "ok"), ("b.fast", "ok")]
    assert found[0].seconds >= 0.1


def test_checks_run_at_the_same_time(world: World) -> None:
    """Two checks that wait for each other both finish: neither waits its turn."""
    meet = threading.Barrier(2, timeout=3)
    both = [Check[World](id, "?", lambda _, id=id: (meet.wait(), ok(id, "met"))[1]) for id in ("a.x", "a.y")]
    assert _statuses(checks.ask(both, world)) == [("a.x", "ok"), ("a.y", "ok")]


def test_a_failed_need_skips_and_names_the_root(world: World) -> None:
    """What needs a failed check is skipped, also indirectly, and names the failure itself."""
    found = checks.ask(
        [
            _check("a.root", fail("a.root", "broken", fix="mend it")),
            _check("a.child", ok("a.child", "fine"), "a.root"),
            _check("a.grandchild", ok("a.grandchild", "fine"), "a.child"),
        ],
        world,
    )
    assert [one.status for one in found] == ["fail", "skip", "skip"]
    assert "a.root" in found[2].summary
    assert found[2].evidence["waits_for"] == "a.root"


def test_unless_skips_on_failure_only(world: World) -> None:
    """A failure that already explains another makes that one moot; an unknown does not."""
    asked = _check("a.after", ok("a.after", "fine"), unless=("a.first",))
    found = checks.ask([_check("a.first", fail("a.first", "no", fix="x")), asked], world)
    assert found[1].status == "skip"
    found = checks.ask([_check("a.first", unknown("a.first", "who knows")), asked], world)
    assert found[1].status == "ok"


def test_a_failure_explains_also_through_another(world: World) -> None:
    """What is moot because of a failure makes its followers moot; one that merely is not known does not."""
    middle = _check("a.middle", ok("a.middle", "fine"), "a.root")
    last = _check("a.last", ok("a.last", "fine"), unless=("a.middle",))
    found = checks.ask([_check("a.root", fail("a.root", "no", fix="x")), middle, last], world)
    assert found[2].evidence["waits_for"] == "a.root"
    found = checks.ask([_check("a.root", unknown("a.root", "who knows")), middle, last], world)
    assert [one.status for one in found] == ["unknown", "skip", "ok"]


def test_errors_become_findings(world: World) -> None:
    """Unreachable is unknown, a refusal is a failure with its fix, a crash is unknown."""
    found = checks.ask(
        [
            _check("a.gone", Unreachable("nobody there", fix="look")),
            _check("a.no", Refused("no", fix="ask nicely")),
            _check("a.crash", ZeroDivisionError("division by zero")),
        ],
        world,
    )
    assert [one.status for one in found] == ["unknown", "fail", "unknown"]
    assert found[1].fix == "ask nicely"
    assert "ZeroDivisionError" in found[2].summary


def test_a_question_that_a_stand_in_does_not_know_stops_nothing_else(world: World) -> None:
    """404 without a vendor's number is unknown, and what comes after it is asked all the same."""
    answer = Answer("http://here/", 404, {}, b"", 0.1)
    found = checks.ask(
        [
            _check("a.first", Declined(answer, "no", fix="x")),
            _check("a.next", ok("a.next", "fine"), "a.first"),
        ],
        world,
    )
    assert [one.status for one in found] == ["unknown", "ok"]


def test_a_hanging_check_is_unknown_at_its_deadline(world: World) -> None:
    """A check that hangs does not hold up the others or the whole."""
    leave = threading.Event()
    hangs = Check[World](
        "a.hangs", "does it end?", lambda _: (leave.wait(10), ok("a.hangs", ""))[1], deadline=0.2
    )
    began = time.monotonic()
    found = checks.ask([hangs, _check("a.fine", ok("a.fine", "fine"))], world)
    leave.set()
    assert time.monotonic() - began < 8  # it hangs for ten
    assert [one.status for one in found] == ["unknown", "ok"]
    assert "within 0.2 s" in found[0].summary


def test_a_hanging_check_does_not_keep_the_program_alive(world: World) -> None:
    """Checks run in daemon threads: the command can end while one of them still hangs."""
    asked = Check[World]("a.one", "?", lambda _: ok("a.one", str(threading.current_thread().daemon)))
    (found,) = checks.ask([asked], world)
    assert found.summary == "True"


def test_the_total_has_a_deadline_too(world: World) -> None:
    """A chain of slow checks ends when the total is used up, with an answer for each."""
    leave = threading.Event()
    chain = [
        Check[World](
            f"a.{i}",
            "?",
            lambda _, i=i: (leave.wait(30.0 * (i > 0)), ok(f"a.{i}", ""))[1],
            (f"a.{i - 1}",) * bool(i),
        )
        for i in range(6)
    ]
    began = time.monotonic()
    found = checks.ask(chain, world, total=0.5)
    leave.set()
    assert time.monotonic() - began < 20  # they take 30 s each
    assert found[0].status == "ok"
    assert found[-1].status in ("unknown", "skip")
    assert len(found) == 6


def test_secrets_never_leave_a_check(world: World) -> None:
    """A secret in summary, fix or evidence is replaced, and the account's SID is shortened."""
    settings = world.settings
    assert settings.twilio_auth_token
    assert settings.twilio_account_sid
    secret, sid = settings.twilio_auth_token.reveal(), settings.twilio_account_sid
    leaky = fail(
        "twilio.leaky", f"with {secret}", fix=f"use {secret}", deep=[{"a": (sid, secret)}], **{secret: 1}
    )
    (found,) = checks.ask([_check("twilio.leaky", leaky)], world)
    shown = str(found.to_dict())
    assert secret not in shown
    assert sid not in shown
    assert sid[:4] in shown


def test_vendor_findings_say_live_or_simulated(world: World) -> None:
    """Evidence of a vendor's check says which kind of vendor answered."""
    (found,) = checks.ask([_check("twilio.any", ok("twilio.any", "fine"))], world)
    assert found.evidence["vendor"] == "twilio LIVE"


def test_progress_is_told_at_begin_and_end(world: World) -> None:
    """Each check is told twice: without a finding when it begins, with it when it ends."""
    told: list[tuple[str, bool]] = []
    check = _check("a.one", ok("a.one", "fine"))
    checks.ask([check], world, progress=lambda one, finding: told.append((one.id, finding is None)))
    assert told == [("a.one", True), ("a.one", False)]


def test_only_takes_ids_and_groups(root: Path) -> None:
    """`only` narrows to an id or a group, and a name that nothing has is an error with the groups."""
    with StandIn().up() as standin:
        settings = standin.settings(root)
        assert {one.id.partition(".")[0] for one in checks.run(settings, only=["environment"])} == {"env"}
        assert [one.id for one in checks.run(settings, only=["twilio.balance"])] == ["twilio.balance"]
        with pytest.raises(OpsError, match=r"No check is called nonsense"):
            checks.run(settings, only=["nonsense"])


def test_what_a_chosen_check_waits_for_is_shown_when_it_is_not_well(root: Path) -> None:
    """Asking for one check shows the failed need because of which it was not asked."""
    with StandIn().up() as standin:
        settings = standin.settings(root, TWILIO_AUTH_TOKEN="0" * 32)
        found = checks.run(settings, only=["twilio.balance"])
    assert _statuses(found) == [("twilio.credentials", "fail"), ("twilio.balance", "skip")]


def test_ids_are_unique_and_every_check_is_explained(world: World) -> None:
    """No two checks share an id, needs exist, and each check has its knowledge."""
    every = checks.every(world)
    ids = [one.id for one in every]
    assert len(ids) == len(set(ids))
    for check in every:
        assert check.about, check.id
        assert {*check.needs, *check.unless} <= set(ids), check.id
