"""The one table from our errors to gRPC status, and back. Code and fix travel as trailing metadata."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
import grpc.aio

from meshd.model.errors import MeshError, Timeout, Unavailable, from_code

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


def error_of(failure: grpc.aio.AioRpcError) -> MeshError:
    """The error that `abort` was called with; a connection that failed becomes Unavailable or Timeout."""
    # At run time each item is a pair (key, value); the stubs say otherwise.
    metadata: dict[str, str | bytes] = dict(failure.trailing_metadata() or ())  # type: ignore[arg-type]
    code = metadata.get("mesh-code")
    if isinstance(code, str):
        fix = metadata.get("mesh-fix-bin", b"")
        return from_code(code, failure.details() or "", fix.decode(errors="replace") if isinstance(fix, bytes) else fix)
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Timeout("no answer in time")
    return Unavailable(failure.details() or failure.code().name)
