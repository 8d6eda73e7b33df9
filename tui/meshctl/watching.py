"""`--watch`: a command that shows something, again with each change that the helper reports."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

from meshproto import local_pb2
from meshproto.client import HelperError
from meshproto.updates import after

from meshctl.session import Session


def watch(session: Session, command: Callable[[Session], None]) -> None:
    """Until interrupted, or the time-out that was given. Raises HelperError."""
    signal.signal(signal.SIGWINCH, lambda *_: session.draw_again())
    for found in statuses(session):
        session.watched = found
        command(session)


def statuses(session: Session) -> Iterator[local_pb2.Status]:
    """What is so, each time it changes. Raises HelperError."""
    known = local_pb2.Status()
    endless = session.options.timeout is None
    for update in session.stream("Watch", local_pb2.WatchRequest(mesh=session.mesh), endless=endless):
        if update.HasField("snapshot") or update.differences or update.events:
            known = after(known, update)
            yield known
    raise HelperError("failed", "meshd ended the report", "see the log of meshd")
