"""One run of meshctl: the connection to the helper, and the moment by which everything must be over."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from meshproto import local_pb2
from meshproto.client import DEFAULT_SOCKET, HelperError, connect, error_of

from meshctl import as_text, silence
from meshctl.picture import picture

DEFAULT_TIMEOUT = 10.0
"""Seconds; INTERFACES.md."""

LONGEST_GRACE = 1.0
"""Seconds before our own deadline at which the helper gives up and says why."""


class Session:
    """What a command works with. The clock runs from its first call: a person may take time to answer a question."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.socket = Path(options.socket or os.environ.get("MESHD_SOCKET") or DEFAULT_SOCKET)
        self.timeout: float = options.timeout or DEFAULT_TIMEOUT
        self._deadline: float | None = None
        self.watched: local_pb2.Status | None = None
        self._shown = ""
        self._channel, self.stub = connect(self.socket)

    @property
    def mesh(self) -> str:
        return getattr(self.options, "mesh_name", "") or str(self.options.mesh)

    def remaining(self) -> float:
        """Seconds that are left; never quite 0, so that a call reports the time-out itself."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self.timeout
        return max(self._deadline - time.monotonic(), 0.001)

    def extend(self, seconds: float) -> None:
        """From now on, so many seconds are left."""
        self._deadline = time.monotonic() + seconds

    def helper_ms(self) -> int:
        """Milliseconds after which the helper itself gives up, so that its reason arrives in time."""
        remaining = self.remaining()
        return max(int((remaining - min(LONGEST_GRACE, remaining / 5)) * 1000), 1)

    def call(self, name: str, request: Any) -> Any:
        """The reply. Raises HelperError."""
        try:
            return getattr(self.stub, name)(request, timeout=self.remaining())
        except grpc.RpcError as failure:
            raise error_of(failure, self.socket) from failure

    def change(self, name: str, request: Any, look: str = "meshctl events") -> Any:
        """The same for what changes something: without an answer, nobody knows whether it was done; `look` shows it."""
        try:
            return getattr(self.stub, name)(request, timeout=self.remaining())
        except grpc.RpcError as failure:
            raise error_of(failure, self.socket, name, look) from failure

    def stream(self, name: str, request: Any, endless: bool = False) -> Iterator[Any]:
        """The replies, one by one. One without end is said to be silent where none comes. Raises HelperError."""
        replies = getattr(self.stub, name)(request, timeout=None if endless else self.remaining())
        if endless:
            replies = silence.heard(replies, replies.cancel)
        try:
            yield from replies
        except grpc.RpcError as failure:
            raise error_of(failure, self.socket, name, "meshctl status") from failure

    def status(self, mesh: str = "") -> local_pb2.Status:
        if self.watched is not None:
            return self.watched
        reply: local_pb2.Status = self.call("GetStatus", local_pb2.GetStatusRequest(mesh=mesh or self.mesh))
        return reply

    def one_mesh(self) -> local_pb2.MeshStatus:
        """The mesh that is meant. Raises HelperError when that is none or not clear."""
        found = list(self.status().meshes)
        if not found:
            raise HelperError("no-mesh", "this machine is in no mesh", "meshctl create NAME, or meshctl join …")
        if len(found) > 1:
            names = ", ".join(sorted(one.name for one in found))
            raise HelperError("conflict", f"this machine is in several meshes: {names}", "say which: --mesh NAME")
        return found[0]

    def confirm(self, question: str, why: str) -> None:
        """Returns when a person says yes, in their own time. Else raises HelperError; `why`: when nobody is there."""
        if not sys.stdin.isatty():
            raise HelperError("invalid", why, "add --yes")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            answer = input()
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise HelperError("failed", "nothing was changed")
        self._deadline = None

    def show(self, data: Any, text: str) -> None:
        if self.watched is None or self.options.json:
            print(json.dumps(data) if self.options.json else text, flush=self.watched is not None)
        elif sys.stdout.isatty():
            self._shown = text
            self.draw_again()
        else:
            print(text, end="\n\n", flush=True)

    def draw_again(self) -> None:
        """What `--watch` shows on a terminal, which may have another size now."""
        if self._shown:
            size = shutil.get_terminal_size()
            drawn = picture(self._shown, size.columns, size.lines)
            os.write(sys.stdout.fileno(), drawn.encode(errors="replace"))  # a signal may come within a print

    def done(self, reply: local_pb2.ChangeReply, text: str) -> None:
        self.show({"epoch": reply.epoch, "revision": reply.revision}, as_text.clean(text))


def request_id() -> str:
    """A random id by which the mesh recognises a repeated request."""
    return os.urandom(16).hex()
