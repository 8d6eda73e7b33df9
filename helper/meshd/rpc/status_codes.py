"""The one table from our errors to gRPC status, and back. Code and fix travel as trailing metadata."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc
import grpc.aio

from meshd.model.errors import Failed, MeshError, OutcomeUnknown, Timeout, Unavailable, from_code

log = logging.getLogger(__name__)

STATUS = {
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "not-found": grpc.StatusCode.NOT_FOUND,
    "conflict": grpc.StatusCode.FAILED_PRECONDITION,
    "exhausted": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "not-permitted": grpc.StatusCode.PERMISSION_DENIED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "outcome-unknown": grpc.StatusCode.ABORTED,
}
"""Any other code is FAILED_PRECONDITION: refused, and the message says why."""


async def abort(context: Any, error: MeshError) -> NoReturn:
    """Ends the call with the error's status, code and fix."""
    status = STATUS.get(error.code, grpc.StatusCode.FAILED_PRECONDITION)
    metadata = (("mesh-code", error.code), ("mesh-fix-bin", error.fix.encode()))
    await context.abort(status, error.message, metadata)
    raise AssertionError("abort returned")  # grpc.aio raises in `abort`; mypy can't see that


_NEVER_SENT = "failed to connect to all addresses"
"""How gRPC begins the details of a call that found no connection (client_channel in its C core)."""

_REASONS = {
    "Connection refused": "connection refused",
    "No route to host": "no route to it",
    "Network is unreachable": "no route to it",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not of this mesh",
}


def error_of(failure: grpc.aio.AioRpcError) -> MeshError:
    """The error that `abort` was called with. Else Unavailable when the call was never sent, and Timeout or
    OutcomeUnknown when it was and no answer came."""
    # At run time each item is a pair (key, value); the stubs say otherwise.
    metadata: dict[str, str | bytes] = dict(failure.trailing_metadata() or ())  # type: ignore[arg-type]
    code = metadata.get("mesh-code")
    if isinstance(code, str):
        fix = metadata.get("mesh-fix-bin", b"")
        return from_code(code, failure.details() or "", fix.decode(errors="replace") if isinstance(fix, bytes) else fix)
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Timeout("no answer in time")
    details = failure.details() or failure.code().name
    log.debug("a call failed: %s", details)
    if failure.code() is grpc.StatusCode.UNAVAILABLE and details.startswith(_NEVER_SENT):
        return Unavailable(next((reason for text, reason in _REASONS.items() if text in details), "no answer"))
    if failure.code() is grpc.StatusCode.UNIMPLEMENTED:
        return Failed("its meshd is of another version and does not know that", "upgrade it")
    return OutcomeUnknown("the connection broke before the answer came")
