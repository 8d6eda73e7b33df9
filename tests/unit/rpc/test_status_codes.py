"""Errors between members: what was refused, what was never sent, and what nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from meshd.model.errors import (
    BY_CODE,
    Conflict,
    Failed,
    MeshError,
    NotPermitted,
    OutcomeUnknown,
    Timeout,
    Unavailable,
)
from meshd.rpc.status_codes import STATUS, abort, error_of

ERRORS = [
    Conflict("the name is taken", "choose another"),
    NotPermitted("laptop-ada is not an admin of home"),
    Conflict("the invite was used", "ask for a new one", "invite-used"),
    Unavailable("no majority", "wait"),
    Failed("schlecht gelaufen: ü ●", "nochmal: ü ●"),
]


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """To a server that refuses with ERRORS[n], hangs, breaks, or fails by itself."""

    async def refuse(request: bytes, context: Any) -> bytes:
        await abort(context, ERRORS[int(request)])

    async def explode(request: bytes, context: Any) -> bytes:
        raise ValueError("a bug")

    handlers = {
        "/x/refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "/x/explode": grpc.unary_unary_rpc_method_handler(explode),
    }

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, details: Any) -> Any:
            return handlers.get(details.method)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as found:
        yield found
    await server.stop(None)


async def failure(call: Any) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_of(caught.value)


@pytest.mark.parametrize("number", range(len(ERRORS)))
async def test_a_refusal_arrives_as_it_was(channel: grpc.aio.Channel, number: int) -> None:
    sent = ERRORS[number]
    got = await failure(channel.unary_unary("/x/refuse")(str(number).encode(), timeout=10))
    assert (got.code, got.message, got.fix) == (sent.code, sent.message, sent.fix)


async def test_a_bug_there_leaves_the_outcome_unknown(channel: grpc.aio.Channel) -> None:
    assert isinstance(await failure(channel.unary_unary("/x/explode")(b"", timeout=10)), OutcomeUnknown)


async def test_another_version_is_named(channel: grpc.aio.Channel) -> None:
    assert "another version" in (await failure(channel.unary_unary("/x/new")(b"", timeout=10))).message


async def test_what_was_never_sent_was_not_done() -> None:
    async with grpc.aio.insecure_channel("ipv4:127.0.0.1:1") as closed:
        error = await failure(closed.unary_unary("/x/refuse")(b"0", timeout=10))
    assert isinstance(error, Unavailable)
    assert error.message == "connection refused"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Timeout),
        (grpc.StatusCode.UNAVAILABLE, "Stream removed (recvmsg:Connection timed out (110))", OutcomeUnknown),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", OutcomeUnknown),
        (grpc.StatusCode.UNAVAILABLE, "keepalive watchdog timeout", OutcomeUnknown),
        (grpc.StatusCode.CANCELLED, "", OutcomeUnknown),
        (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: …", Unavailable),
    ],
)
def test_a_broken_connection_leaves_the_outcome_unknown(
    code: grpc.StatusCode, details: str, kind: type[MeshError]
) -> None:
    nothing = grpc.aio.Metadata()
    error = error_of(grpc.aio.AioRpcError(code, nothing, nothing, details))
    assert isinstance(error, kind)
    assert "recvmsg" not in error.message
    assert "UNKNOWN" not in error.message


def test_every_error_has_a_status() -> None:
    assert set(STATUS) <= set(BY_CODE)
    assert len(set(STATUS.values())) == len(STATUS)
