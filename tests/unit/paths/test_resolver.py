from __future__ import annotations

import asyncio
import threading
import time
from ipaddress import ip_address

import pytest
from meshd.paths import resolver
from meshd.paths.resolver import Address, Resolver, look_up

ADDRESS: Address = ip_address("192.0.2.1")
OTHER: Address = ip_address("192.0.2.2")


class Names:
    """What a lookup finds; an event that is not set holds it up."""

    def __init__(self) -> None:
        self.answer: list[Address] | None = [ADDRESS]
        self.free = threading.Event()
        self.free.set()
        self.asked = 0

    def __call__(self, host: str) -> list[Address]:
        self.asked += 1
        self.free.wait(60)
        if self.answer is None:
            raise OSError("no such name")
        return self.answer


async def until(names: Resolver, expected: list[Address]) -> None:
    async with asyncio.timeout(10):
        while True:
            if await names.resolve("gw.example") == expected:
                return
            await asyncio.sleep(0.005)


async def test_the_systems_resolver_answers() -> None:
    assert ip_address("127.0.0.1") in await Resolver(look_up).resolve("localhost")


async def test_a_known_name_is_not_asked_again() -> None:
    names = Names()
    one = Resolver(names)
    assert await one.resolve("gw.example") == [ADDRESS]
    assert await one.resolve("gw.example") == [ADDRESS]
    assert names.asked == 1


async def test_a_lookup_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "FIRST_WAIT", 0.05)
    names = Names()
    names.free.clear()
    one = Resolver(names)
    began = time.monotonic()
    assert await one.resolve("gw.example") == []
    assert await one.resolve("gw.example") == []
    assert time.monotonic() - began < 30  # against the 60 s that the lookup would take
    assert names.asked == 1
    names.free.set()
    await until(one, [ADDRESS])


async def test_what_was_known_stays_while_the_name_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "FRESH", 0.0)
    monkeypatch.setattr(resolver, "RETRY", 0.0)
    names = Names()
    one = Resolver(names)
    assert await one.resolve("gw.example") == [ADDRESS]
    names.answer = None
    asked = names.asked
    async with asyncio.timeout(10):
        while names.asked < asked + 3:
            assert await one.resolve("gw.example") == [ADDRESS]
            await asyncio.sleep(0.005)
    names.answer = [OTHER]
    await until(one, [OTHER])


@pytest.mark.parametrize("host", ["a" * 70, "", ".", "\udcff", "no such host"])
async def test_names_that_cannot_be_are_no_address(host: str) -> None:
    assert await Resolver(look_up).resolve(host) == []
