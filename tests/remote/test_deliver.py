"""What the desk makes of a host's answers: hostile ones are harmless, and a failure it heard of is marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from ops.errors import OpsError
from ops.remote import deliver
from ops.remote.apply import Link
from ops.remote.deliver import ANSWER, Order, Way, ask
from ops.remote.front import Front
from ops.remote.hosts import Host
from ops.remote.outcome import Lost
from ops.remote.proxy import Proxy

Sink = Callable[[bytes], None]
Answers = Callable[[list[str], str, Sink, Sink], None]


class Told:
    """A link to a host that answers as a test wants; what it was asked to do, request by request."""

    host = Host("one", "127.0.0.1")

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def run(self, command: str, *, out: Sink, err: Sink, stdin: bytes) -> int:
        request = json.loads(stdin[len(deliver.program()) :])
        self.asked.append([step["do"] for step in request["steps"]])
        self.answers(self.asked[-1], request["word"], out, err)
        return 0


def answering(**answer: Any) -> Answers:
    return lambda _, word, out, __: out(f"\x1e{word} {json.dumps(answer)}\n".encode())


def link(answers: Answers) -> tuple[Link, Told]:
    told = Told(answers)
    return cast(Link, told), told


def test_an_answer_is_shown_without_escape_sequences() -> None:
    """Neither what a host refuses, nor its advice, nor a name in its answer moves a cursor or writes a title."""
    one, _ = link(answering(refused="\x1b]0;title\x07no\x1b[2J", fix="\x1b[31mmend\u202e it"))
    with pytest.raises(OpsError) as refused:
        ask(one, {"do": "facts"})
    assert (refused.value.message, refused.value.fix) == ("one: no", "mend it")
    one, _ = link(
        answering(ok={"releases": [{"label": "\x1b[2Jv1", "count": 2}], "slots": {"\x1b[Hblue": None}})
    )
    assert ask(one, {"do": "releases"}) == {
        "releases": [{"label": "v1", "count": 2}], "slots": {"blue": None},
    }  # fmt: skip


def test_a_flood_instead_of_an_answer_is_cut_off() -> None:
    """Of endless output no more is kept than an answer may have, also of what goes to standard error."""

    def flood(_: list[str], word: str, out: Sink, err: Sink) -> None:
        for _ in range(ANSWER // 65536):
            out(b"x" * 65536)
            err(b"\x1b[2Jy" * 65536)
        out(f"\x1e{word} {json.dumps({'ok': {}})}\n".encode())

    one, _ = link(flood)
    with pytest.raises(OpsError, match="no answer from its Python") as cut:
        ask(one, {"do": "facts"})
    assert "\x1b" not in cut.value.message
    assert len(cut.value.message) < 400


@pytest.mark.parametrize(
    "said", ["", "prose", "[1]", "[" * 100_000, '{"neither": 1}', '{"ok": 1}', "\x1e {}"]
)
def test_what_is_no_answer_of_ours_is_not_believed(said: str) -> None:
    """Fake, broken and bottomless ones are a fault that says what the host should have."""

    def fake(_: list[str], word: str, out: Sink, err: Sink) -> None:
        out(f"\x1e{word} {said}\n".encode())

    with pytest.raises(OpsError, match="no answer from its Python") as told:
        ask(link(fake)[0], {"do": "facts"})
    assert "python3" in told.value.fix


def test_what_failed_is_condemned_by_who_heard_of_it() -> None:
    """After a failure under the lock the desk asks for the mark and gives the lock back."""
    one, told = link(answering(ok={}))
    with pytest.raises(OpsError, match="broken"), deliver._locked(one, Order("ann@desk", "here", "a test")):
        raise OpsError("broken", fix="mend it")
    assert told.asked == [["lock"], ["condemn", "unlock"]]


def test_a_link_that_broke_marks_nothing() -> None:
    """Nobody can be asked any more, and the first failure is the one that is told."""

    def cut(steps: list[str], word: str, out: Sink, err: Sink) -> None:
        if steps != ["lock"]:
            raise Lost("one: the connection broke.", fix="check the network")
        answering(ok={})(steps, word, out, err)

    one, _ = link(cut)
    with pytest.raises(OpsError, match="broken"), deliver._locked(one, Order("ann@desk", "here", "a test")):
        raise OpsError("broken", fix="mend it")


def test_where_a_proxy_fails_the_host_goes_back() -> None:
    """One of two proxies was told, the other one refuses: both lead to the slot before, which is in force again."""
    host, edges = Told.host, (Host("edge1", "10.0.0.1"), Host("edge2", "10.0.0.2"))
    told_to: list[str] = []

    def direct(_: Front, slot: str) -> None:
        told_to.append(slot)
        if slot == "green":
            raise OpsError("edge2: no", fix="mend it")

    one, told = link(answering(ok={"from": "a" * 12, "to": "b" * 12, "slot_from": "blue"}))
    way = Way(Front(host, Proxy(), edges, (host,)), direct)
    found = {"slot": "green", "base": "/srv/trunkline", "slots": {}}
    switch = {"do": "switch", "id": "b" * 12}
    with pytest.raises(OpsError, match="edge2: no"):
        deliver._switched(one, {}, way, found, "b" * 12, (), switch, ({"do": "unlock"},), deep=True)
    assert told_to == ["green", "blue"]
    assert told.asked == [["slot", "switch"], ["return"]]
