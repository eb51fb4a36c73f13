from __future__ import annotations

import json

import pytest

from ops.calls.advice import MISSING, MISSING_AT_THE_PHONE
from ops.calls.scenario import BARGE_IN, BUILT_IN, REPAIR_SHOP, Scenario, from_the_phone, load, parse
from ops.errors import OpsError
from ops.journal.hops import Hop
from ops.speech import library


def never(name: str) -> str:
    raise AssertionError(f"{name} was read")


def test_the_built_in_scenario_expects_every_hop_that_it_can_cause() -> None:
    """Each hop is expected once, after one that stands before it, so a chain has one first cause."""
    known = {Hop.PLACED}
    for expected in REPAIR_SHOP.hops:
        assert expected.hop not in known
        assert expected.after in known
        assert expected.needs is None or expected.needs in known
        known.add(expected.hop)
    others = {Hop.TOOL_CALLED, Hop.TOOL_RETURNED, Hop.FILLED, Hop.RESUMED}  # of tools and of trouble
    assert known == set(Hop) - others


@pytest.mark.parametrize("scenario", BUILT_IN.values(), ids=BUILT_IN.keys())
def test_what_the_phone_can_tell_is_a_chain_too(scenario: Scenario) -> None:
    """Seen from the phone, with the model's stand-in or without: each hop once, after one before it."""
    for model in (False, True):
        known = {Hop.PLACED}
        for expected in from_the_phone(scenario, model=model).hops:
            assert expected.hop not in known
            assert {expected.after, expected.needs or expected.after} <= known
            known.add(expected.hop)
        assert (Hop.MODEL_READY in known) is model
        assert Hop.TRUNCATED not in known


def test_every_hop_has_its_advice() -> None:
    """A scenario of one's own may expect any hop."""
    assert set(MISSING) == set(MISSING_AT_THE_PHONE) == set(Hop)


def test_the_built_in_caller_says_recorded_caller_lines() -> None:
    """Every line that the script says exists, and it is a caller's."""
    spoken = [str(step["line"]) for step in REPAIR_SHOP.steps if step["do"] == "say"]
    assert spoken
    assert {library.line(name).speaker for name in spoken} == {"caller"}


def test_a_built_in_name_reads_no_file() -> None:
    """A scenario is found by its name alone."""
    assert load("repair-shop", never) is BUILT_IN["repair-shop"]


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_a_scenario_of_ones_own_is_read_from_a_file(kind: str) -> None:
    """JSON and TOML say the same; without `hops` the usual ones are expected."""
    texts = {
        "json": json.dumps({
            "name": "mine",
            "steps": [{"do": "listen"}, {"do": "say", "line": "caller-hours"}, {"do": "hang-up"}],
            "expect": {"turns": 1, "barge_ins": 0, "seconds": 20},
        }),
        "toml": 'name = "mine"\n'
        'steps = [{do = "listen"}, {do = "say", line = "caller-hours"}, {do = "hang-up"}]\n'
        "expect = {turns = 1, barge_ins = 0, seconds = 20}\n",
    }  # fmt: skip
    found = load(f"mine.{kind}", lambda _: texts[kind])
    assert (found.name, found.turns, found.barge_ins, found.seconds) == ("mine", 1, 0, 20)
    assert [step["do"] for step in found.steps] == ["listen", "say", "hang-up"]
    expected = {one.hop for one in found.hops}
    assert Hop.ANSWERED in expected
    assert expected.isdisjoint(one.hop for one in BARGE_IN)


def test_a_scenario_may_name_its_own_hops() -> None:
    """`hops` replaces the usual ones."""
    text = '{"steps": [{"do": "hang-up"}], "hops": [{"hop": "agent.first-audio", "within_ms": 900}]}'
    (hop,) = parse("own.json", text).hops
    assert (hop.hop, hop.within_ms, hop.after) == (Hop.FIRST_AUDIO, 900, Hop.STARTED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "is not an object"),
        ("{}", "no list of steps"),
        ('{"steps": []}', "no list of steps"),
        ('{"steps": [{"do": "sing"}]}', "step 1: expected `do` to be one of"),
        ('{"steps": [{"do": "hang-up"}, 7]}', "step 2: expected `do`"),
        ('{"steps": [{"do": "say"}]}', "has no `line`"),
        ('{"steps": [{"do": "say", "line": 3}]}', "expected a text for `line`"),
        ('{"steps": [{"do": "pause", "ms": "long"}]}', "expected a whole number for `ms`"),
        ('{"steps": [{"do": "pause", "ms": true}]}', "expected a whole number for `ms`"),
        ('{"steps": [{"do": "pause", "ms": -5}]}', "expected 1 to 600000 ms"),
        ('{"steps": [{"do": "hang-up", "why": "x"}]}', "expected no such key for `why`"),
        ('{"steps": [{"do": "hang-up"}], "expect": 3}', "`expect` that is not an object"),
        ('{"steps": [{"do": "hang-up"}], "expect": {"turns": 1.5}}', "expect.turns"),
        ('{"steps": [{"do": "hang-up"}], "hops": [{"hop": "tea"}]}', "a hop needs"),
        ('{"steps": [{"do": "hang-up"}], "hops": 1}', "not a list"),
    ],
)
def test_a_bad_scenario_is_refused_in_words(text: str, said: str) -> None:
    """The error names the file, the place in it, and what was expected."""
    with pytest.raises(OpsError) as refused:
        parse("mine.json", text)
    assert said in str(refused.value)
    assert "mine.json" in str(refused.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A mistyped name is answered with what there is."""
    with pytest.raises(OpsError, match="repair-shop"):
        load("repairshop", never)


def test_an_unreadable_file_is_an_error_with_a_fix() -> None:
    """A missing file shows no traceback."""

    def missing(name: str) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(OpsError, match="No such file"):
        load("none.toml", missing)
