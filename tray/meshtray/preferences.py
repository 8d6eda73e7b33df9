"""What is kept over restarts, in a file of the person's own. One that can't be read is as if there were none."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshtray.values import Kind, Preferences

log = logging.getLogger(__name__)


def config_home() -> Path:
    """XDG Base Directory Specification."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())


def default_path() -> Path:
    return config_home() / "meshtui" / "tray.json"


def load(path: Path) -> Preferences:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return Preferences()
    return _preferences(document) if isinstance(document, dict) else Preferences()


def _preferences(document: Mapping[str, Any]) -> Preferences:
    names = _texts(document.get("muted"))
    return Preferences(
        muted=frozenset(kind for kind in Kind if kind.value in names),
        symbolic=document.get("symbolic") is True,
        told=_texts(document.get("told")),
        seen=_texts(document.get("seen")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def save(path: Path, preferences: Preferences) -> None:
    document = {
        "muted": sorted(kind.value for kind in preferences.muted),
        "symbolic": preferences.symbolic,
        "told": preferences.told,
        "seen": preferences.seen,
    }
    new = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(document, indent=2) + "\n")
        new.replace(path)
    except OSError as error:
        log.warning("the preferences can't be kept: %s", error)
