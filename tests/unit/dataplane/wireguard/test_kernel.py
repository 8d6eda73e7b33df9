"""What the kernel backend says when the kernel refuses, and that it keeps its hands off links that are not ours."""

from __future__ import annotations

import errno
import os

import pytest
from meshd.dataplane.wireguard.backend import DeviceChange
from meshd.dataplane.wireguard.kernel import KernelBackend, explain
from meshd.model.errors import Failed


@pytest.mark.parametrize(
    ("code", "message", "fix", "name"),
    [
        (errno.EPERM, "making home: not permitted", "CAP_NET_ADMIN", "failed"),
        (errno.EACCES, "making home: not permitted", "CAP_NET_ADMIN", "failed"),
        (errno.EEXIST, "home already exists and is not ours", "--interface", "failed"),
        (errno.ENODEV, "home is gone", "by itself", "failed"),
        (errno.EADDRINUSE, "port is taken", "--listen-port", "port-taken"),
        (errno.EOPNOTSUPP, "home is not one of WireGuard's", "--interface", "failed"),
        (errno.ENOBUFS, "making home: No buffer space available", "", "failed"),
    ],
)
def test_what_the_kernel_refuses_is_said_in_words(code: int, message: str, fix: str, name: str) -> None:
    error = explain(OSError(code, os.strerror(code)), "making home", "home")
    assert message in error.message
    assert fix in error.fix
    assert error.code == name


async def test_loopback_is_never_ours() -> None:
    backend = KernelBackend()
    assert not await backend.exists("lo")
    await backend.delete("lo")
    with pytest.raises(Failed, match="lo already exists and is not ours"):
        await backend.create("lo", 1420)


async def test_a_link_that_is_not_there() -> None:
    backend = KernelBackend()
    assert not await backend.exists("no-such-link")
    await backend.delete("no-such-link")
    with pytest.raises(Failed) as caught:
        await backend.apply("no-such-link", DeviceChange(fwmark=1))
    assert caught.value.fix
