"""What a person chose and finds again: the look, and the order and columns of each table. A file, written when changed.

A file that can't be read or written is as if there were none: nobody is kept from watching because of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

Order = tuple[str, bool]
"""Column title, and whether reversed."""


def default_path() -> Path:
    """XDG Base Directory Specification."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "meshtui" / "preferences.json"


@dataclass(frozen=True, slots=True)
class Preferences:
    theme: str = ""
    orders: Mapping[str, Order] = field(default_factory=lambda: MappingProxyType({}))

    hidden: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    """Columns that are not shown, by tab."""

    def without(self, tab: str, columns: frozenset[str]) -> Preferences:
        return replace(self, hidden=MappingProxyType({**self.hidden, tab: columns}))

    def sorted_by(self, tab: str, order: Order) -> Preferences:
        return replace(self, orders=MappingProxyType({**self.orders, tab: order}))


def load(path: Path) -> Preferences:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return Preferences()
    if not isinstance(document, dict):
        return Preferences()
    theme, orders, hidden = (document.get(name) for name in ("theme", "orders", "hidden"))
    return Preferences(
        theme if isinstance(theme, str) else "",
        MappingProxyType({tab: (one[0], one[1]) for tab, one in orders.items() if _is_order(one)})
        if isinstance(orders, dict)
        else MappingProxyType({}),
        MappingProxyType(
            {
                tab: frozenset(one for one in columns if isinstance(one, str))
                for tab, columns in hidden.items()
                if isinstance(columns, list)
            }
        )
        if isinstance(hidden, dict)
        else MappingProxyType({}),
    )


def _is_order(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], bool)


def save(path: Path, preferences: Preferences) -> None:
    document = {
        "theme": preferences.theme,
        "orders": dict(preferences.orders),
        "hidden": {tab: sorted(columns) for tab, columns in preferences.hidden.items()},
    }
    new = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(document, indent=2) + "\n")
        new.replace(path)
    except OSError:
        return
