"""Background work that has to go on for as long as its owner does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
"""Seconds before work that failed is started again. Doubled with each failure in a row, up to `LONGEST_PAUSE`."""

LONGEST_PAUSE = 5.0

GOOD_AFTER = 10.0
"""Seconds after which a failure is not in a row with the one before."""


def keep_running(
    work: Callable[[], Coroutine[Any, Any, None]], name: str, report: Callable[[str], None] | None = None
) -> asyncio.Task[None]:
    """A task that runs `work()` and, whenever that fails, logs why, calls `report` and starts it again.

    Failures that `work` expects are its own to handle: what comes here is a fault of ours, which must not leave a
    machine that looks alive and does nothing. The task ends when it is cancelled or when `work` returns.
    """
    return asyncio.create_task(_keep_running(work, name, report), name=name)


async def _keep_running(
    work: Callable[[], Coroutine[Any, Any, None]], name: str, report: Callable[[str], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    pause = 0.0
    while True:
        began = loop.time()
        try:
            await work()
            return
        except Exception as error:
            pause = FIRST_PAUSE if not pause or loop.time() - began > GOOD_AFTER else min(2 * pause, LONGEST_PAUSE)
            log.exception("internal error in %s: it starts again", name)
            if report is not None:
                report(f"internal error in {name}: {type(error).__name__}; it starts again, and the log says more")
        await asyncio.sleep(pause)
