"""The bug zoo: each fault of the table is seeded in a stack that is well, its rule fires, and no other.

The stacks, their vendors and the seeds are those of `inv bench doctor`, which asks from the real command
line; here the same checks are asked in this process. Under `--long` the command line is asked here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ops import checks
from ops.bench.doctor import run, seeds
from ops.bench.doctor.habitat import Habitat
from ops.bench.doctor.verdict import ranked, says
from ops.bench.doctor.zoo import Fault, Where
from ops.bench.doctor.zoo_own import FAULTS
from ops.bench.stage import stage
from ops.config import Settings
from ops.doctor.environment import unusable
from ops.doctor.fixes import mend_files
from ops.errors import SettingsError

OF_ITS_FOLDER = "a package too old"  # looks at the folder that the program itself is read from
HERE = [one for one in FAULTS if not (one.wrapper or one.deep or one.name == OF_ITS_FOLDER)]
DEEP = [
    one for one in FAULTS if one.deep and one.rule != "deep.line"
]  # that one: tests/doctor/test_preflight.py
OF_NO_RULE = ("env.",)  # bad settings: a finding each, by the variable's name
ELSEWHERE = {"env.python"}  # another Python cannot be had: tests/doctor/test_environment.py


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """The habitats live longer than one test; the stage itself proves that nothing of them is left."""


@pytest.fixture(scope="module")
def habitats() -> Iterator[dict[Where, Habitat]]:
    """A stack of each kind that is up, with its vendors."""
    with ExitStack() as stack:
        here = stack.enter_context(stage())
        yield {where: stack.enter_context(run.inhabited(here, setup)) for where, setup in run.PLACES.items()}


def _asked(habitat: Habitat) -> list[dict[str, object]]:
    try:
        found = checks.run(Settings.load(habitat.root, habitat.exported))
    except SettingsError as problem:
        found = unusable(problem)
    return [one.to_dict() for one in found]


@pytest.mark.parametrize("fault", HERE, ids=lambda fault: fault.name)
def test_the_right_rule_fires_and_no_other(fault: Fault, habitats: dict[Where, Habitat]) -> None:
    """One seeded fault: its rule names it with a fix, and nothing else cries wolf."""
    habitat = habitats[fault.where]
    undo = seeds.apply(fault.seeds, habitat)
    try:
        found = _asked(habitat)
    finally:
        undo()
        habitat.settle()
    assert ranked(found, fault.known) == (fault.rule,), [one for one in found if one["status"] != "ok"]
    assert says(found, fault.rule, fault.words), [one for one in found if one["id"] == fault.rule]


@pytest.mark.parametrize("fault", DEEP, ids=lambda fault: fault.name)
def test_the_right_deep_rule_fires(fault: Fault, habitats: dict[Where, Habitat]) -> None:
    """Those that open sessions, each asked alone with what it needs."""
    habitat = habitats[fault.where]
    undo = seeds.apply(fault.seeds, habitat)
    try:
        found = [
            one.to_dict()
            for one in checks.run(
                Settings.load(habitat.root, habitat.exported), only=(fault.rule,), deep=True
            )
        ]
    finally:
        undo()
    assert ranked(found) == (fault.rule,)
    assert says(found, fault.rule, fault.words), found


def test_while_no_vendor_answers_each_is_unknown(
    habitats: dict[Where, Habitat], request: pytest.FixtureRequest
) -> None:
    """A network that loses everything: exit 4, unknown for each vendor, in less than ten seconds."""
    if not request.config.getoption("--long"):
        pytest.skip("with --long, or `inv bench doctor`")
    dark = run.blackout(habitats["live"])
    assert dark.honest, dark
    assert dark.seconds < 10


def test_what_was_seeded_is_gone(habitats: dict[Where, Habitat]) -> None:
    """After all that, the stacks are well again."""
    assert ranked(_asked(habitats["live"])) == ranked(_asked(habitats["own"])) == ()


def test_the_state_of_a_living_stack_is_not_stale(habitats: dict[Where, Habitat]) -> None:
    """There is nothing to mend in the files of a stack that is well, its run state least of all."""
    assert mend_files(habitats["live"].root, show=lambda _: None) == ()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_command_line_says_the_same(
    fault: Fault, habitats: dict[Where, Habitat], request: pytest.FixtureRequest
) -> None:
    """`inv validate --json` has the rule on top, and `--fix` mends what it promises."""
    if not request.config.getoption("--long"):
        pytest.skip("with --long, or `inv bench doctor`")
    verdict = run.judged(habitats[fault.where], fault)
    assert (verdict.place, verdict.others) == (1, ())
    assert verdict.mended is not False


def test_every_rule_has_its_fault() -> None:
    """A rule that nobody has seen fire is not proved; each automatic fix is tried."""
    rules = {rule.id: rule for rule in checks.catalogue()}
    of_any_service = {"port.webapp": "port.", "service.webapp": "service."}
    seeded = {one.rule for one in FAULTS}
    for id, rule in rules.items():
        like = any(id.startswith(group) and one in seeded for one, group in of_any_service.items())
        assert id in seeded | ELSEWHERE or like, id
        if rule.about and rule.about.mend == "automatic":
            assert any(one.fix for one in FAULTS if one.rule == id), id
    strange = {one.rule for one in FAULTS} - set(rules)
    assert all(one.startswith(OF_NO_RULE) for one in strange), strange
    assert len(seeded & set(rules)) >= 45
