"""A parsed task as the command line that runs it on a host, from the release in force there. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

HERE = frozenset({"deploy", "rollback", "releases"})  # run here and drive the hosts; all others are forwarded
WATCH = "cat <&3; kill -0 $$ && { kill -s INT 0; while kill -0 $$; do sleep 0.2; done; kill -s TERM 0; }"
MARK = "\x1e"  # begins our own lines in a host's output; a one-time word follows that no task knows


class Parsed(Protocol):
    """A task as Invoke's parser leaves it: its name, and its arguments by name."""

    name: str
    args: Mapping[str, Any]


def words(task: Parsed) -> tuple[str, ...]:
    """The task as it was typed: its name, and each argument that was given."""
    return (task.name, *(word for argument in task.args.values() for word in _given(argument)))


def command(path: str, arguments: Iterable[str], word: str) -> str:
    """The remote command line: in a process group of its own, from the release that `current` means now.

    Its first line of output tells the group's number, or that there is no release: `MARK word …`. Its
    standard input is for its life: when that ends before the task does, the desk is gone, and the task is
    interrupted as by Ctrl-C.
    """
    inner = (
        f"cd -P -- {shlex.quote(path + '/current')} 2>/dev/null && [ -x ./inv ]"
        f" || {{ printf '\\036{word} none\\n'; exit 3; }};"
        f" printf '\\036{word} %s\\n' $$;"
        f" exec 3<&0 </dev/null; {{ {WATCH}; }} >/dev/null 2>&1 & exec 3<&-;"
        f" exec ./inv {shlex.join(arguments)}"
    )
    return f"setsid -w sh -c {shlex.quote(inner)}"


def wants_json(task: Parsed) -> bool:
    """Whether the task was asked for one JSON document."""
    argument = task.args.get("json")
    return argument is not None and argument.value is True


def _given(argument: Any) -> Iterable[str]:
    flag = "--" + str(argument.names[0]).replace("_", "-")
    value = argument._value
    if argument.incrementable:
        return [flag] * (value - argument.default)
    if not argument.got_value:
        return []
    if argument.kind is bool:
        return [flag if value else "--no-" + flag.removeprefix("--")]
    if argument.optional and value is True:
        return [flag]
    return [f"{flag}={one}" for one in (value if argument.kind is list else [value])]
