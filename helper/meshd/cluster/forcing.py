"""How `nodes promote --force` ends for the person who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshd.model.errors import Conflict, OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from meshd.cluster.elector import Elector

LIMIT = 5.0
"""Seconds for a node that is forced to lead to have its first entry on its disk."""


def not_forced(reason: str) -> Conflict:
    return Conflict(f"this node can't be made the primary: {reason}", "see `meshctl nodes list`")


async def until_it_leads(elector: Elector, refusal: Callable[[], str]) -> None:
    """Raises Conflict, OutcomeUnknown and Unavailable."""
    began = False

    def ended() -> bool:
        nonlocal began
        term, attempt = elector.state.term, elector.state.attempt
        under_way = (term is not None and term.forced) or (attempt is not None and attempt.forced)
        over, began = began and not under_way, began or under_way
        return bool(refusal()) or elector.writable() or over

    try:
        async with asyncio.timeout(LIMIT), elector.changed:
            await elector.changed.wait_for(ended)
    except TimeoutError:
        if elector.state.term is None or elector.state.term.head is None:
            raise Unavailable("redis on this node did not take the first change in time", "try again") from None
        raise OutcomeUnknown(
            f"the first change is not on the disk of this node yet: {elector.store_state}",
            "it leads once it is: see `meshctl nodes list`",
        ) from None
    if refusal():
        raise not_forced(refusal())
    if not elector.leading:
        raise OutcomeUnknown(  # what it wrote may be there yet, and be led with
            f"this node was forced, and stepped down before its first change was confirmed: {elector.store_state}",
            "see `meshctl nodes list`, and force it again if nobody leads",
        )
