"""A member that is enabled again is greeted once, when the interface has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from meshd.assembly.returning import Returning

ADA: Any = SimpleNamespace(public_key="key of laptop-ada", ipv4="10.11.0.1")


def test_it_is_greeted_once_the_interface_has_it() -> None:
    """It may be enabled while a plan is applied that was made without it."""
    pings: list[str] = []
    sessions: Any = SimpleNamespace(prober=SimpleNamespace(ping=pings.append), give_time=lambda _: None)
    returning, members = Returning(sessions), {"ada": ADA}

    def applied(*keys: str) -> None:
        returning.greet(members, SimpleNamespace(peers=dict.fromkeys(keys)))  # type: ignore[arg-type]

    returning.expect("ada")
    applied()
    assert pings == []
    applied(ADA.public_key)
    applied(ADA.public_key)
    assert pings == [ADA.ipv4]


def test_one_that_was_removed_meanwhile_is_forgotten() -> None:
    pings: list[str] = []
    sessions: Any = SimpleNamespace(prober=SimpleNamespace(ping=pings.append), give_time=lambda _: None)
    returning = Returning(sessions)
    returning.expect("ada")
    device: Any = SimpleNamespace(peers={ADA.public_key: None})
    returning.greet({}, device)
    returning.greet({"ada": ADA}, device)
    assert pings == []
