"""The typed client of the helper, for front ends: the stubs of `Meshd`, and errors that a person can act on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # the environment above must be set before

from meshproto import local_pb2
from meshproto.local_pb2_grpc import MeshdStub
from meshproto.tiers import METHODS, SERVICE

if TYPE_CHECKING:
    import grpc.aio

    from meshproto.local_pb2_grpc import MeshdAsyncStub

DEFAULT_SOCKET = Path("/run/meshd/meshd.sock")

OPTIONS = (
    ("grpc.default_authority", "meshd"),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # Also how long gRPC lets one try to connect take (grpc/grpc issue 12830): a busy machine may need a second.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class HelperError(Exception):
    """Raised when the helper refused or failed. `exit_status` is what INTERFACES.md has for it."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix

    @property
    def exit_status(self) -> int:
        return {"invalid": 2, "helper-unreachable": 3, "not-permitted": 4, "outcome-unknown": 5}.get(self.code, 1)


NEVER_SENT = "failed to connect to all addresses"
"""How gRPC begins the details of a call that found no connection (client_channel in its C core)."""

NO_ANSWER = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "did not answer in time",
    grpc.StatusCode.UNAVAILABLE: "ended before it answered",
    grpc.StatusCode.CANCELLED: "ended before it answered",
    grpc.StatusCode.INTERNAL: "broke off",
    grpc.StatusCode.UNKNOWN: "broke off",
}
"""What became of a call that was sent and that the helper itself said nothing about."""

ONLY_ASKS = frozenset({"ShowKey", "ShowInvite", "BackUp"})
"""Calls that need the right to operate, and change nothing."""


def changes(method: str) -> bool:
    """Whether that call of `Meshd` changes something."""
    described = METHODS.get(f"/{SERVICE}/{method}")
    return described is not None and described.tier == local_pb2.TIER_OPERATE and method not in ONLY_ASKS


def error_of(failure: grpc.RpcError, socket: Path, method: str = "", look: str = "meshctl events") -> HelperError:
    """What a failed call means to a person. `method`: which one it was; when it changes something and was sent, no
    answer does not mean that nothing was done, and `look` is where to see it."""
    metadata: dict[str, str | bytes] = dict(failure.trailing_metadata() or ())  # type: ignore[arg-type]  # pairs at run time
    code, details = failure.code(), failure.details() or ""
    if "mesh-code" in metadata:
        fix = metadata.get("mesh-fix-bin", b"")
        return HelperError(
            str(metadata["mesh-code"]), details, fix.decode(errors="replace") if isinstance(fix, bytes) else fix
        )
    sent = not (code is grpc.StatusCode.UNAVAILABLE and details.startswith(NEVER_SENT))
    if code in NO_ANSWER and sent and changes(method):
        return HelperError(
            "outcome-unknown",
            f"meshd {NO_ANSWER[code]}: the change may or may not have been made",
            f"see `{look}`, then do it again if it is not there",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return HelperError("timeout", "meshd did not answer in time", "try again, or give more --timeout")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        if fix := barred(socket):
            return HelperError("helper-unreachable", f"you may not open {socket}", fix)
        return HelperError("helper-unreachable", f"meshd can't be reached at {socket}", "sudo systemctl start meshd")
    return HelperError("failed", details or code.name)


def barred(socket: Path) -> str:
    """What lets this person open the socket, which meshd makes for everybody; "" where nothing bars them."""
    if not socket.absolute().parents:
        return ""
    own, *others = socket.absolute().parents
    for folder in reversed(others):
        if not os.access(folder, os.X_OK) and os.access(folder, os.F_OK):
            return f"use an account that may enter {folder}"
    if os.path.isdir(own) and not os.access(own, os.X_OK):
        return f"sudo chmod a+x {shlex.quote(str(own))}"
    if os.path.exists(socket) and not os.access(socket, os.R_OK | os.W_OK):
        return f"sudo chmod a+rw {shlex.quote(str(socket))}"
    return ""


def connect(socket: Path) -> tuple[grpc.Channel, MeshdStub]:
    """A channel and the calls over it, for programs without an event loop. Nothing is sent yet."""
    channel = grpc.insecure_channel(f"unix:{socket}", options=OPTIONS)
    return channel, MeshdStub(channel)


def connect_async(socket: Path) -> tuple[grpc.aio.Channel, MeshdAsyncStub]:
    """The same for asyncio. Call it inside the running loop."""
    import grpc.aio

    channel = grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS)
    return channel, MeshdStub(channel)
