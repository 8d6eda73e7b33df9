"""Errors that a person may see. One table from error to code; the servers map codes to gRPC and exit status.

Every error says what happened and to what (`str(error)`), and what to do next (`fix`).
"""

from __future__ import annotations


class MeshError(Exception):
    """Base of everything that is refused or fails in a way that a person can act on."""

    code = "failed"

    def __init__(self, message: str, fix: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        if code:
            self.code = code


class InvalidInput(MeshError):
    """Raised when a name, address, key or option that somebody gave can't be used."""

    code = "invalid"


class NotFound(MeshError):
    """Raised when the mesh, member, route, invite or request that was named does not exist."""

    code = "not-found"


class Conflict(MeshError):
    """Raised when what was asked contradicts what is there: name taken, pools overlap, invite used."""

    code = "conflict"


class Exhausted(MeshError):
    """Raised when a pool has no free address or prefix left."""

    code = "exhausted"


class NotPermitted(MeshError):
    """Raised when the caller lacks the tier, or the member the right."""

    code = "not-permitted"


class Unavailable(MeshError):
    """Raised when what is needed can't be reached now: the primary, a node, Redis."""

    code = "unavailable"


class OutcomeUnknown(MeshError):
    """Raised when a change was written but not confirmed by a quorum in time."""

    code = "outcome-unknown"


class Timeout(MeshError):
    """Raised when the time that the caller gave is over, with nothing changed."""

    code = "timeout"


class Failed(MeshError):
    """Raised when the machine refuses: a command, a netlink call, a file."""

    code = "failed"


BY_CODE: dict[str, type[MeshError]] = {
    kind.code: kind
    for kind in (
        InvalidInput, NotFound, Conflict, Exhausted, NotPermitted, Unavailable, OutcomeUnknown, Timeout, Failed,
    )
}  # fmt: skip


def from_code(code: str, message: str, fix: str = "") -> MeshError:
    """Rebuilds an error that came over the wire; an unknown code becomes a plain MeshError with that code."""
    return BY_CODE.get(code, MeshError)(message, fix, code)
