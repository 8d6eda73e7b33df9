"""What goes wrong in the store, beyond the errors of the model. Raised by this package, caught by the cluster."""

from __future__ import annotations

from meshd.model.errors import Conflict, Failed, MeshError, Unavailable
from meshd.model.position import Position


class StoreUnavailable(Unavailable):
    """Raised when Redis can't be reached, doesn't answer in time, or is still loading its data."""


class StoreFailed(Failed):
    """Raised when Redis refuses a command, or when the answer to a write never came. It ends the primary's term.

    `code` is "outcome-unknown" when the write may have happened.
    """


class AppendConflict(Conflict):
    """Raised when the last entry is not the expected one; `found` is the last entry."""

    def __init__(self, expected: Position, found: Position) -> None:
        super().__init__(f"the last change is {found}, expected {expected}", "read the state again and decide anew")
        self.expected = expected
        self.found = found


class Duplicate(Conflict):
    """Raised when a change with this request id was written before, at `position`."""

    def __init__(self, request_id: str, position: Position) -> None:
        super().__init__(f"request {request_id} was carried out before, as change {position}")
        self.request_id = request_id
        self.position = position


class Gap(MeshError):
    """Raised when the entry to continue after is no longer in the stream, or never was: a snapshot is needed."""

    code = "gap"

    def __init__(self, after: Position) -> None:
        super().__init__(f"the stream of changes does not continue after {after}", "load the whole state")
        self.after = after
