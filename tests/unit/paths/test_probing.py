"""Two probers on loopback addresses, with real datagrams."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Failed
from meshd.paths import probing
from meshd.paths.probing import DATAGRAM_LIMIT, Prober
from meshproto import paths_pb2

HERE, THERE, STRANGER = (IPv4Address(f"127.0.71.{number}") for number in (1, 2, 3))


@asynccontextmanager
async def probers() -> AsyncIterator[tuple[Prober, Prober, int]]:
    """Two that know each other, and their port."""
    others: list[paths_pb2.PathDatagram] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.71.9", 0))
        port = probe.getsockname()[1]
    one = Prober(lambda address: address == THERE, os.urandom, lambda _, datagram: others.append(datagram))
    two = Prober(lambda address: address == HERE, os.urandom)
    await one.start(HERE, port)
    await two.start(THERE, port)
    try:
        yield one, two, port
    finally:
        one.stop()
        two.stop()


async def test_a_round_trip_is_measured_and_both_ends_are_heard() -> None:
    async with probers() as (one, two, _):
        trip = await one.measure(THERE, 5)
        assert trip is not None
        assert 0 < trip < 5000
        assert one.contact(THERE).rtt_ms == trip
        assert one.alive(THERE)
        assert one.answered(THERE)
        assert two.alive(HERE)
        assert not two.answered(HERE)
        ahead = one.contact(THERE).clock_ahead
        assert ahead is not None
        assert abs(ahead) < 5, "one machine, one clock"
        assert two.contact(HERE).clock_ahead is None


def _ping(prober: Prober, rtt_ms: float) -> None:
    """A probe from there, with what that end measured last."""
    ping = paths_pb2.PathDatagram(ping=paths_pb2.Echo(nonce=1, rtt_ms=rtt_ms))
    prober.datagram_received(ping.SerializeToString(), (str(THERE), 1))


async def test_the_latency_is_the_newer_of_both_ends_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node measures a peer once, for a person; from then on only the peer does."""
    at = 1000.0
    monkeypatch.setattr(probing, "boottime", lambda: at)
    prober = Prober(lambda _: True, os.urandom)
    assert prober.contact(THERE).latency_ms == 0
    nonce = prober.ping(THERE)
    at += 1.3
    pong = paths_pb2.PathDatagram(pong=paths_pb2.Echo(nonce=nonce))
    prober.datagram_received(pong.SerializeToString(), (str(THERE), 1))
    assert prober.contact(THERE).latency_ms == pytest.approx(1300)
    at += 2
    _ping(prober, 4.5)
    assert prober.contact(THERE).latency_ms == 4.5
    at += 2
    _ping(prober, 0)  # it has no measure now: that is none of 0 ms
    assert prober.contact(THERE).latency_ms == 4.5
    nonce = prober.ping(THERE)
    at += 0.002
    pong = paths_pb2.PathDatagram(pong=paths_pb2.Echo(nonce=nonce))
    prober.datagram_received(pong.SerializeToString(), (str(THERE), 1))
    assert prober.contact(THERE).latency_ms == pytest.approx(2)


async def test_a_latency_that_is_old_is_neither_shown_nor_told(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1000.0
    monkeypatch.setattr(probing, "boottime", lambda: at)
    prober, sent = Prober(lambda _: True, os.urandom), []
    monkeypatch.setattr(prober, "send", lambda _, datagram: sent.append(datagram))
    _ping(prober, 4.5)
    nonce = prober.ping(THERE)
    at += 0.01
    pong = paths_pb2.PathDatagram(pong=paths_pb2.Echo(nonce=nonce))
    prober.datagram_received(pong.SerializeToString(), (str(THERE), 1))
    at += probing.MEASURE_KEPT - 0.1
    assert prober.contact(THERE).latency_ms == pytest.approx(10)
    prober.ping(THERE)
    assert sent[-1].ping.rtt_ms == pytest.approx(10)
    at += 0.2
    assert prober.contact(THERE).latency_ms == 0
    prober.ping(THERE)
    assert sent[-1].ping.rtt_ms == 0


async def test_no_answer_is_told_and_since_when() -> None:
    async with probers() as (one, two, _):
        two.stop()
        assert await one.measure(THERE, 0.05) is None
        assert not one.answered(THERE)
        first = one.contact(THERE).first_unanswered
        assert first > 0
        assert await one.measure(THERE, 0.05) is None
        assert one.contact(THERE).first_unanswered == first


async def test_a_stranger_gets_no_answer_and_is_not_remembered() -> None:
    async with probers() as (one, _, port):
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            stranger.bind((str(STRANGER), port))
            ping = paths_pb2.PathDatagram(ping=paths_pb2.Echo(nonce=1)).SerializeToString()
            await loop.sock_sendto(stranger, ping, (str(HERE), port))
            assert await one.measure(THERE, 5) is not None  # so the stranger's datagram was seen before this
            with pytest.raises(BlockingIOError):
                stranger.recv(1)
        assert not one.alive(STRANGER)


async def test_a_pong_from_another_member_is_no_answer() -> None:
    """A member can't make a path look alive by answering for somebody else."""
    prober = Prober(lambda _: True, os.urandom)
    nonce = prober.ping(THERE)
    pong = paths_pb2.PathDatagram(pong=paths_pb2.Echo(nonce=nonce)).SerializeToString()
    prober.datagram_received(pong, (str(STRANGER), 1))
    assert not prober.answered(THERE)
    prober.datagram_received(pong, (str(THERE), 1))
    assert prober.answered(THERE)


async def test_members_that_are_gone_are_forgotten() -> None:
    async with probers() as (one, _, _port):
        await one.measure(THERE, 5)
        one.forget([HERE])
        assert not one.alive(THERE)


async def test_a_port_that_is_taken_is_named() -> None:
    async with probers() as (_, _, port):
        with pytest.raises(Failed, match=rf"127\.0\.71\.1:{port}"):
            await Prober(lambda _: True, os.urandom).start(HERE, port)


@given(st.binary(max_size=2 * DATAGRAM_LIMIT))
def test_foreign_bytes_are_dropped(data: bytes) -> None:
    Prober(lambda _: True, os.urandom, lambda *_: None).datagram_received(data, (str(THERE), 1))


async def test_who_is_heard_for_the_first_time_is_told_once() -> None:
    heard: list[None] = []
    ping = paths_pb2.PathDatagram(ping=paths_pb2.Echo(nonce=1)).SerializeToString()
    prober = Prober(lambda _: True, os.urandom, on_heard=lambda: heard.append(None))
    for _ in range(3):
        prober.datagram_received(ping, (str(THERE), 1))
    assert len(heard) == 1
    prober.forget([])
    prober.datagram_received(ping, (str(THERE), 1))
    assert len(heard) == 2
