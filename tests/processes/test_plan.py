"""What to do next: the plan, from what is ordered and what was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ops.processes import state
from ops.processes.plan import (
    Keep,
    Observed,
    Order,
    Refuse,
    Seen,
    Start,
    Stop,
    Wait,
    plan,
    start_depth,
    stop_waves,
)
from ops.processes.ports import Holder
from ops.processes.state import Life
from ops.services import Service

STRANGER = Holder(9, 77, "nc -l 9", 60.0, "/", None, None, 0)


def service(name: str, *after: str, **more: object) -> Service:
    return replace(Service(name, ("x",), Path("/"), (9,), after=after), **more)


def one_step(
    order: Order, seen: Seen | None = None, now: float = 0.0, stranger: Holder | None = None
) -> object:
    observed = Observed({order.service.name: seen} if seen else {}, {9: stranger} if stranger else {})
    return plan([order], observed, now)[0]


def test_what_runs_as_ordered_is_kept() -> None:
    """A living process that was started as now ordered is kept, whoever else is on the port list."""
    assert one_step(Order(service("a")), Seen(Life("ready"), lives=True), stranger=STRANGER) == Keep("a")


def test_changed_silent_or_unordered_is_stopped() -> None:
    """Other settings, a long silence, or no place in the orders: it must end."""
    changed = one_step(Order(service("a")), Seen(Life("ready"), lives=True, same=False, changed="env X"))
    assert changed == Stop("a", "its settings changed: env X")
    silent = Seen(Life("unready", "gives no answer", silent_since=0.0), lives=True)
    assert one_step(Order(service("a")), silent, now=9.9) == Keep("a")
    assert one_step(Order(service("a")), silent, now=10.0) == Stop("a", "gives no answer")
    steps = plan([], Observed({"b": Seen(Life("ready"), lives=True)}), 0.0)
    assert steps == [Stop("b", "it is no longer part of the stack")]


def test_a_draining_service_is_left_alone() -> None:
    """What a command is ending may be silent for as long as it drains."""
    silent = Seen(Life("unready", silent_since=0.0), lives=True)
    assert one_step(Order(service("a"), held=True), silent, now=99.0) == Keep("a")


def test_a_held_or_finished_service_waits_for_a_person() -> None:
    """Stopped by a person, failed, or stopped by itself: nothing starts it but a new order."""
    assert isinstance(one_step(Order(service("a"), held=True)), Wait)
    for life in (Life("failed"), Life("stopped")):
        assert isinstance(one_step(Order(service("a")), Seen(life)), Wait)


def test_a_stranger_on_the_port_is_refused() -> None:
    """No start while somebody else holds the port."""
    assert one_step(Order(service("a")), stranger=STRANGER) == Refuse("a", STRANGER)


def test_a_pause_is_kept() -> None:
    """Until its time has come a restart waits; then it starts."""
    seen = Seen(Life("restarting", "exited", deaths=1, retry_at=5.0))
    assert one_step(Order(service("a")), seen, now=4.9) == Wait("a", "exited", 5.0)
    assert one_step(Order(service("a")), seen, now=5.0) == Start("a")


def test_first_starts_wait_for_what_they_need_but_restarts_do_not() -> None:
    """A first start waits until everything in `after` is ready; one that ran before comes back at once."""
    orders = [Order(service("a", ports=())), Order(service("b", "a", "absent", ports=()))]
    assert plan(orders, Observed(), 0.0) == [Start("a"), Wait("b", "waits for a")]
    ready = Observed({"a": Seen(Life("ready"), lives=True)})
    assert plan(orders, ready, 0.0) == [Keep("a"), Start("b")]
    died = Observed({"b": Seen(Life("restarting", deaths=1, retry_at=0.0))})
    assert plan(orders, died, 1.0) == [Start("a"), Start("b")]


@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), st.booleans()), max_size=6))
def test_every_stop_is_in_order(rows: list[tuple[set[int], bool]]) -> None:
    """For any stack without a circle each service ends once, dependents before what they need, and
    services that drain before those that nothing ties to them."""
    services = [
        service(f"s{n}", *(f"s{one}" for one in after if one < n), drains=drains)
        for n, (after, drains) in enumerate(rows)
    ]
    waves = stop_waves(services)
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    assert sorted(place) == sorted(one.name for one in services)
    for one in services:
        assert all(place[one.name] < place[needed] for needed in one.after)
    draining = [one.name for one in services if one.drains]
    dependents = set(draining)
    for one in services:
        if dependents & set(one.after):
            dependents.add(one.name)
    for one in services:
        if one.name not in dependents:
            assert all(place[first] < place[one.name] for first in draining)


def test_the_longest_row_of_starts() -> None:
    """How many services wait for one another decides how long a start may take."""
    assert start_depth([service("a"), service("b", "a"), service("c", "b", "absent")]) == 3
    assert start_depth([]) == 0


class Stacks(RuleBasedStateMachine):
    """A supervisor over three services, moved as the real one is: plan, then state, then plan again."""

    def __init__(self) -> None:
        super().__init__()
        names = {"a": (), "b": ("a",), "c": ("a", "b")}
        self.orders = {
            name: Order(service(name, *after, ports=(port,)))
            for port, (name, after) in enumerate(names.items(), 1)
        }
        self.lives = {name: Life() for name in names}
        self.running: set[str] = set()
        self.strangers: set[int] = set()
        self.now = 0.0

    @rule(seconds=st.floats(0.0, 15.0))
    def a_turn(self, seconds: float) -> None:
        self.now += seconds
        seen = {name: Seen(life, lives=name in self.running) for name, life in self.lives.items()}
        holders = {port: replace(STRANGER, port=port) for port in self.strangers}
        ready = {name for name in self.running if self.lives[name].state == "ready"}
        for step in plan(list(self.orders.values()), Observed(seen, holders), self.now):
            order, life = self.orders[step.name], self.lives[step.name]
            if isinstance(step, Start):
                assert step.name not in self.running
                assert not order.held
                assert life.state not in ("failed", "stopped")
                assert not self.strangers & set(order.service.ports)
                assert life.deaths or set(order.service.after) <= ready
                self.lives[step.name] = state.launched(life, self.now)
                self.running.add(step.name)
            elif isinstance(step, Stop):
                assert life.silent_since is not None
                assert self.now - life.silent_since >= order.service.silence
                self.dies(step.name)
            elif isinstance(step, Refuse):
                self.lives[step.name] = state.not_started(life, str(step.holder), self.now)

    @rule(name=st.sampled_from("abc"))
    def dies(self, name: str) -> None:
        if name in self.running:
            self.running.discard(name)
            life = self.lives[name]
            held = self.orders[name].held
            rules = state.Rules(most_quick_deaths=3)
            self.lives[name] = state.stopped(life) if held else state.died(life, "x", 1, rules, self.now, 0.5)

    @rule(name=st.sampled_from("abc"), kind=st.sampled_from(["ok", "no", "silent"]))
    def answers(self, name: str, kind: Literal["ok", "no", "silent"]) -> None:
        if name in self.running:
            self.lives[name] = state.answered(self.lives[name], state.Answer(kind), state.Rules(), self.now)

    @rule(name=st.sampled_from("abc"))
    def is_held_by_a_person(self, name: str) -> None:
        self.orders[name] = replace(self.orders[name], held=True)
        self.dies(name)

    @rule(name=st.sampled_from("abc"))
    def is_started_by_a_person(self, name: str) -> None:
        self.orders[name] = replace(self.orders[name], held=False)
        if name not in self.running:
            self.lives[name] = Life(restarts=self.lives[name].restarts)

    @rule(port=st.integers(1, 3))
    def a_stranger_comes_or_goes(self, port: int) -> None:
        free = all(port not in self.orders[name].service.ports for name in self.running)
        self.strangers ^= {port} if free or port in self.strangers else set()

    @invariant()
    def lives_and_processes_agree(self) -> None:
        for name, life in self.lives.items():
            assert (life.launched is not None) == (name in self.running)

    def teardown(self) -> None:
        """Left alone, with every order free and no stranger, everything comes up in the end."""
        self.strangers.clear()
        for name in "abc":
            self.is_started_by_a_person(name)
        for _ in range(4):
            self.a_turn(40.0)
            for name in "abc":
                self.answers(name, "ok")
        assert {life.state for life in self.lives.values()} == {"ready"}


Stacks.TestCase.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStacks = Stacks.TestCase
TestStacks.__doc__ = "In any row of events no rule of starting is broken, and in the end all can come up."
