"""A task on a remote command line means there what it meant here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoke.collection import Collection
from invoke.context import Context
from invoke.parser import Parser
from invoke.tasks import task

from ops.remote import forward
from tests.remote.conftest import as_sshd

PAYLOADS = [
    "; touch HIT", "$(touch HIT)", "`touch HIT`", "| touch HIT", "&& touch HIT", "\n touch HIT\n", "' ; touch HIT; '",
    '" ; touch HIT; "', "--help", "-x", "--json", "> HIT", "*", "~", "$HOME", "a b", "", "\\", "'", '"', "{a,b}", "!!",
    "#x", "=", "a=b", "%s", "\t", "ü", "\x1b[31m", "${IFS}", "-- touch HIT", "||touch HIT", "$'\\n'", "<(touch HIT)",
]  # fmt: skip


def parser() -> Parser:
    @task(iterable=["many"], incrementable=["loud"], optional=["maybe"])
    def one(
        c: Context,
        text: str = "",
        take_over: bool = False,
        seconds: float = 0.0,
        careful: bool = True,
        many: Any = None,
        loud: int = 0,
        maybe: str = "",
    ) -> None:
        """One."""

    collection = Collection(one)
    return Parser(contexts=collection.to_contexts())


def meaning(words: list[str]) -> dict[str, Any]:
    (context,) = parser().parse_argv(words)
    return dict(context.as_kwargs)


@pytest.mark.parametrize(
    "words",
    [
        ["one"], ["one", "--take-over"], ["one", "--no-careful"], ["one", "--seconds", "2.5", "--text=a"],
        ["one", "--many", "a", "--many", "b"], ["one", "-l", "-l"], ["one", "--maybe"], ["one", "--maybe", "x"],
    ],
)  # fmt: skip
def test_given_arguments_and_no_others_are_forwarded(words: list[str]) -> None:
    """Parsed, put together and parsed again, a task means the same; defaults are left to the host."""
    (context,) = parser().parse_argv(words)
    again = list(forward.words(context))
    assert meaning(again) == meaning(words)
    assert len(again) == 1 or len(again) <= len(words)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    """A value arrives as it was typed, also if it looks like a flag."""
    (context,) = parser().parse_argv(["one", f"--text={text}"])
    assert meaning(list(forward.words(context)))["text"] == context.as_kwargs["text"]


def test_no_payload_gets_out_of_its_quotes(tmp_path: Any) -> None:
    """Through the two shells of the real command line each payload arrives as data, and nothing else runs."""
    current = tmp_path / "host/current"
    current.mkdir(parents=True)
    inv = current / "inv"
    inv.write_text("#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n")
    inv.chmod(0o755)
    line = forward.command(str(tmp_path / "host"), ("one", *PAYLOADS), "w0rd")
    done = as_sshd(line, tmp_path)
    first, _, rest = done.stdout.partition(b"\n")
    assert first.startswith(b"\x1ew0rd ")
    assert [word.decode() for word in rest.split(b"\0")[:-1]] == ["one", *PAYLOADS]
    assert not list(tmp_path.rglob("HIT"))


def test_a_host_without_a_release_says_so(tmp_path: Any) -> None:
    """Exit 3, and our own line tells it from a task that failed."""
    line = forward.command(str(tmp_path), ("status",), "w0rd")
    done = as_sshd(line, tmp_path)
    assert (done.returncode, done.stdout) == (3, b"\x1ew0rd none\n")


def test_the_group_is_that_of_the_task(tmp_path: Any) -> None:
    """The number that is told leads the process group of the task and its children."""
    current = tmp_path / "current"
    current.mkdir()
    (current / "inv").write_text("#!/bin/sh\nsh -c 'cut -d\" \" -f5 /proc/self/stat'\n")
    (current / "inv").chmod(0o755)
    done = as_sshd(forward.command(str(tmp_path), (), "w0rd"), tmp_path)
    told, group = done.stdout.decode().split("\n")[:2]
    assert told.removeprefix("\x1ew0rd ") == group
