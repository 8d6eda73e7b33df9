"""A helper that hangs: its stream stays open and brings nothing. Who watches must not take that for peace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from meshproto.client import HelperError

LOOKS = 6
"""Each a second: meshd says something every two. They are counted, so that a machine that slept is no silence."""
LOOK_S = 1.0

T = TypeVar("T")


def heard(replies: Iterable[T], cancel: Callable[[], object]) -> Iterator[T]:
    """The replies. Raises HelperError when none comes for LOOKS, then `cancel` has ended them."""
    guard = _Guard(cancel)
    thread = threading.Thread(target=guard.run, name="silence", daemon=True)
    thread.start()
    try:
        for reply in replies:
            guard.pause()  # while it is shown, which may take as long as a pager likes
            yield reply
            guard.resume()
    except Exception as failure:
        if guard.silent:
            why = f"meshd has not answered for {LOOKS * LOOK_S:.0f} s"
            raise HelperError("timeout", why, "sudo systemctl restart meshd; tunnels stay up meanwhile") from failure
        raise
    finally:
        guard.end()
        thread.join()


class _Guard:
    """Its `run` has a thread of its own."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self.silent = False
        self._cancel = cancel
        self._ended = threading.Event()
        self._waiting = True
        self._quiet = 0

    def pause(self) -> None:
        self._waiting = False

    def resume(self) -> None:
        self._quiet = 0
        self._waiting = True

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._quiet = self._quiet + 1 if self._waiting else 0
            if self._quiet >= LOOKS:
                self.silent = True
                self._cancel()
                return
