"""Host names: what is accepted, what is refused, and that nothing else gets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.remote.hosts import choose, parse

TABLE: dict[str, Any] = {
    "hosts": {
        "web1": {"address": "deploy@10.0.0.5:2222", "groups": ["web", "eu"], "path": "/srv/trunkline"},
        "web2": {"address": "10.0.0.6", "user": "deploy", "port": 22, "groups": ["web"]},
        "db": {},
    }
}
BAD = (
    "", " ", "-oProxyCommand=id", "a;id", "a b", "a\nb", "a|id", "$(id)", "`id`", "a&b", "../x", "a/../b", "a..b",
    "user@", "@host", "a@b@c", "host:", "host:0", "host:65536", "host:22x", "host:-1", "host:٣", "-u@host",
    "u;id@host", "u$@host", "host\x00", "hôst", "[::1", "::1]", "[::1]x", "[zz]:22", "[-o]:2", "h" * 300, "host.",
    "'host'", '"host"', "host>x", "host<x", "*", "ho?st", "~", "host\\n", "host%0a", "host#", "host!", "host=1",
)  # fmt: skip


def test_names_groups_and_addresses() -> None:
    """A name means its row, a group all its hosts once and in order, anything else itself."""
    hosts, faults = choose("web,web1,root@example.com:2200,[::1]:22,alias", TABLE)
    assert not faults
    assert [host.name for host in hosts] == ["web1", "web2", "root@example.com:2200", "[::1]:22", "alias"]
    assert (hosts[0].user, hosts[0].address, hosts[0].port, hosts[0].path) == (
        "deploy", "10.0.0.5", 2222, "/srv/trunkline",
    )  # fmt: skip
    assert (hosts[1].user, hosts[1].port) == ("deploy", 22)
    assert (hosts[3].address, hosts[3].port) == ("::1", 22)
    assert (hosts[4].user, hosts[4].port, hosts[4].path) == (None, None, "trunkline")


@pytest.mark.parametrize("text", BAD)
def test_everything_else_is_refused(text: str) -> None:
    """What could be read as an option, a command, a pattern or a path is no host name."""
    assert parse(text) is None
    hosts, faults = choose(f"web1,{text}", TABLE)
    assert faults
    assert [host.name for host in hosts] == ["web1"]


@given(st.text())
def test_what_is_accepted_is_harmless(text: str) -> None:
    """No accepted name, user or address begins with a dash or holds a character that a shell reads."""
    host = parse(text)
    for part in (host.address, host.user or "x") if host else ():
        assert part.isascii()
        assert not part.startswith("-")
        assert not set(part) & set(" \t\n;&|<>()$`\\\"'*?#~=!{},/")


@pytest.mark.parametrize(
    ("text", "told"),
    [("web1,web1", "twice"), ("web2,deploy@10.0.0.6:22", "same host"), ("db,DB", "same host")],
)
def test_the_same_host_twice_is_refused(text: str, told: str) -> None:
    """A task never runs twice at once in one place."""
    _, faults = choose(text, TABLE)
    assert told in "".join(fault.message for fault in faults)


@pytest.mark.parametrize(
    "row",
    [
        {"adress": "x"}, {"port": "22"}, {"port": True}, {"port": 0}, {"path": "/srv/../etc"}, {"path": "a b"},
        {"path": "$(id)"}, {"path": "-x"}, {"user": "-l"}, {"jump": "-J"}, {"groups": "web"}, {"groups": [";"]},
        {"address": "-oX=y"}, {"key": 1}, 7,
    ],
)  # fmt: skip
def test_bad_rows_are_named(row: Any) -> None:
    """Each bad row of [hosts.NAME] is a fault that names it, with what to do."""
    _, faults = choose("x", {"hosts": {"x": row}})
    assert any("x" in fault.message and fault.fix for fault in faults)


def test_a_name_for_a_host_and_a_group_is_refused() -> None:
    """Nobody can mistake a group for one of its hosts."""
    _, faults = choose("a", {"hosts": {"a": {"groups": ["b"]}, "b": {}}})
    assert "a host and a group" in faults[0].message
