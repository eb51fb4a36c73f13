"""Who listens on a port."""

from __future__ import annotations

import os
import socket

import pytest

from ops.processes import ports, sock_diag
from ops.processes.ports import Holder


@pytest.mark.parametrize(
    ("family", "address", "asked"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "::1"),
    ],
)
def test_a_listener_is_found_with_its_owner(family: int, address: str, asked: str) -> None:
    """Over IPv4 and IPv6, on loopback or every address: the socket, where to ask it, and its process."""
    try:
        server = socket.create_server((address, 0), family=socket.AddressFamily(family))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        port = server.getsockname()[1]
        found = next(one for one in ports.listeners([port]) if one.inode == os.fstat(server.fileno()).st_ino)
        assert (found.port, found.address) == (port, asked)
        assert ports.owner(found.inode) == os.getpid()
        holder = ports.holder(found, os.getpid())
        assert holder.cwd == os.getcwd()  # noqa: PTH109
        assert holder.stack is None
        assert f"port {port} is held by pid {os.getpid()}" in str(holder)
        inode = found.inode
    assert inode not in [one.inode for one in ports.listeners([port])]


def test_a_bound_or_connected_socket_is_no_listener() -> None:
    """Only who listens can be answered by."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert ports.listeners([client.getsockname()[1]]) == []


def test_a_holder_that_may_not_be_looked_into_is_said_plainly() -> None:
    """Another user's process has no pid for us; its user is told."""
    assert "user 12 that we may not look into" in str(Holder(80, None, "", 0.0, None, None, None, 12))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_and_proc_tell_the_same(family: socket.AddressFamily) -> None:
    """Both ways tell the same sockets, with address, port, inode and user."""
    with socket.create_server(
        ("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family
    ) as server:
        mine = (server.getsockname()[1], os.fstat(server.fileno()).st_ino, os.getuid())
        fast, slow = sock_diag.by_netlink(family), list(sock_diag.by_proc(family))
        for told in (fast, slow):
            assert mine in [(one.port, one.inode, one.uid) for one in told]
        address = {one.inode: one.address for one in fast}
        assert address[mine[1]] == {one.inode: one.address for one in slow}[mine[1]]


def test_where_the_kernel_does_not_answer_proc_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel or a sandbox: slower, but the same answer."""

    def refused(family: int) -> list[sock_diag.Listening]:
        raise OSError("refused")

    monkeypatch.setattr(sock_diag, "by_netlink", refused)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert [one.inode for one in ports.listeners([server.getsockname()[1]])] == [
            os.fstat(server.fileno()).st_ino
        ]
