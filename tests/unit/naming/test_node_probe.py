"""Whether a node's DNS answers: against our own server's answers, silence, refusals and rubbish."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.naming.node_probe import answers, is_answer, question

LOCAL = ip_address("127.0.0.1")
ASKED = question("home.wg", 7)


def reply(wire: bytes) -> dns.message.Message:
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.flags |= dns.flags.AA
    name = response.question[0].name
    response.answer.append(dns.rrset.from_text(name, 30, "IN", "SOA", f"a.{name} h.{name} 1 1 1 1 1"))
    return response


def test_the_question_is_one_that_others_read() -> None:
    message = dns.message.from_wire(question("mesh.example.net", 513))
    assert message.id == 513
    assert message.question[0].to_text() == "mesh.example.net. IN SOA"


def test_an_answer() -> None:
    assert is_answer(ASKED, reply(ASKED).to_wire())
    refused = reply(ASKED)
    refused.set_rcode(dns.rcode.REFUSED)
    plain = reply(ASKED)
    plain.flags &= ~dns.flags.AA
    empty = reply(ASKED)
    empty.answer = []
    for bad in (refused, plain, empty, reply(question("home.wg", 8)), reply(question("work.wg", 7))):
        assert not is_answer(ASKED, bad.to_wire())
    assert not is_answer(ASKED, ASKED)


@given(st.binary(max_size=64))
def test_rubbish_is_none(wire: bytes) -> None:
    assert not is_answer(ASKED, wire)
    assert not is_answer(ASKED, ASKED[:2] + wire)


class Server(asyncio.DatagramProtocol):
    def __init__(self, say: Callable[[bytes], bytes | None]) -> None:
        self._say = say
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.asked += 1
        answer = self._say(data)
        if answer is not None:
            self.transport.sendto(answer, address)  # type: ignore[attr-defined]  # a datagram transport


@pytest.mark.parametrize(
    ("say", "good"),
    [
        (lambda wire: reply(wire).to_wire(), True),
        (lambda wire: None, False),
        (lambda wire: b"rubbish", False),
    ],
)
async def test_a_server(say: Callable[[bytes], bytes | None], good: bool) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Server(say), local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    assert await answers(LOCAL, "home.wg", port, 0.1) is good
    transport.close()


async def test_a_lost_datagram_is_sent_again() -> None:
    server = Server(lambda wire: reply(wire).to_wire() if server.asked > 1 else None)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    assert await answers(LOCAL, "home.wg", transport.get_extra_info("sockname")[1], 0.1)
    transport.close()


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        port = plain.getsockname()[1]
    assert not await answers(LOCAL, "home.wg", port, 0.05)
    assert not await answers(ip_address("2001:db8:ffff::1"), "home.wg", port, 0.05)
