"""The command `meshd`: reads the settings, then runs the daemon."""

from __future__ import annotations

import asyncio
import gc
import sys

from meshd import logs
from meshd.model.errors import InvalidInput, MeshError
from meshd.settings import load_settings


def run() -> None:
    """Entry point. Exit status: 0 stopped by a signal, 1 failed, 2 wrong usage."""
    try:
        settings = load_settings(sys.argv[1:])
    except InvalidInput as error:
        _complain(error)
        sys.exit(2)
    logs.set_up(settings.log_level, settings.log_format)
    from meshd.assembly.daemon import serve
    from meshd.assembly.local_api import LocalApi
    from meshd.assembly.taking_down import take_down

    _collect_seldom()
    try:
        asyncio.run(take_down(settings) if settings.take_down else serve(settings, LocalApi))
    except MeshError as error:
        _complain(error)
        sys.exit(1)


def _collect_seldom() -> None:
    """Has Python look for cycles far less often. In a mesh of 3,000 members a full look takes 0.3 s and more, in which
    nothing else runs, and came every two seconds: longer than a lease bears. What we let go of is freed without it."""
    gc.freeze()  # the modules, which stay
    gc.set_threshold(50_000, 20, 100)


def _complain(error: MeshError) -> None:
    sys.stderr.write(f"meshd: {error.message}\n" + (f"fix: {error.fix}\n" if error.fix else ""))
