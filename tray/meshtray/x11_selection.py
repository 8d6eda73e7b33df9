"""The clipboard of X11 (ICCCM section 2) through python-xlib, in a process of its own: it stays to hand it out."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

LIMIT_S = 3.0
LONGEST = 65_536


def hold(text: bytes) -> int:
    """Owns the selection until somebody else does. Says so on standard output once it is ours, and closes it."""
    from Xlib import X, Xatom
    from Xlib.display import Display
    from Xlib.protocol import event

    display = Display()
    window = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    clipboard, targets, utf8 = (display.intern_atom(name) for name in ("CLIPBOARD", "TARGETS", "UTF8_STRING"))
    window.set_selection_owner(clipboard, X.CurrentTime)
    if display.get_selection_owner(clipboard) != window:
        return 1
    os.write(1, b"1")
    os.close(1)
    while True:
        asked = display.next_event()
        if asked.type == X.SelectionClear:
            return 0
        if asked.type != X.SelectionRequest:
            continue
        into = asked.property or asked.target  # old clients name none
        if asked.target == targets:
            asked.requestor.change_property(into, Xatom.ATOM, 32, [targets, utf8, Xatom.STRING])
        elif asked.target in (utf8, Xatom.STRING):
            asked.requestor.change_property(into, asked.target, 8, text)
        else:
            into = X.NONE
        asked.requestor.send_event(
            event.SelectionNotify(
                time=asked.time,
                requestor=asked.requestor,
                selection=asked.selection,
                target=asked.target,
                property=into,
            )
        )
        display.flush()


def read() -> int:
    """Prints the text that is on it; nothing when there is none."""
    from Xlib import X
    from Xlib.display import Display

    display = Display()
    window = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    clipboard, utf8, into = (display.intern_atom(name) for name in ("CLIPBOARD", "UTF8_STRING", "MESHTRAY"))
    if display.get_selection_owner(clipboard) == X.NONE:
        return 0
    window.convert_selection(clipboard, utf8, into, X.CurrentTime)
    answer = _next(display, X.SelectionNotify)
    if answer is not None and answer.property != X.NONE:
        found = window.get_full_property(into, X.AnyPropertyType)
        if found is not None and found.format == 8:
            value = found.value if isinstance(found.value, bytes) else str(found.value).encode()
            sys.stdout.buffer.write(value[:LONGEST])
            sys.stdout.flush()
    return 0


def _next(display: Any, kind: int) -> Any:
    """The next event of that kind; None when it does not come in time."""
    deadline = time.monotonic() + LIMIT_S
    display.flush()
    while (left := deadline - time.monotonic()) > 0:
        if not display.pending_events() and not select.select([display], [], [], left)[0]:
            break
        if display.pending_events():
            event = display.next_event()
            if event.type == kind:
                return event
    return None
