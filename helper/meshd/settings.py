"""Settings of meshd: flag, then environment (MESHD_…), then the TOML file, then the default."""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshproto import VERSION

from meshd.model.errors import InvalidInput

CONFIG = Path("/etc/meshd/meshd.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """What meshd was told. `redis` may hold a password and is never printed."""

    state_dir: Path = Path("/var/lib/meshd")
    run_dir: Path = Path("/run/meshd")
    backend: str = "auto"
    redis: str = field(default="", repr=False)
    hosts_file: bool = True
    dns: bool = True
    split_dns: bool = True
    log_level: str = "info"
    log_format: str = "text"
    take_down: bool = False  # a flag only: end what a stopped helper left running, instead of serving


_SWITCHES = {"on": True, "off": False}
CHOICES = {
    "backend": ("auto", "kernel", "userspace"),
    "hosts_file": tuple(_SWITCHES),
    "dns": tuple(_SWITCHES),
    "split_dns": tuple(_SWITCHES),
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("text", "json"),
}
_PATHS = ("state_dir", "run_dir")
DESCRIPTIONS = {
    "state_dir": "where identities and data are kept (default /var/lib/meshd)",
    "run_dir": "where sockets are (default /run/meshd)",
    "backend": "WireGuard of the kernel or by wireguard-go (default: what is there)",
    "redis": "an administrator's Redis for this node, instead of a private one",
    "hosts_file": "write the members' names into the hosts file (default on)",
    "dns": "on a node, answer DNS queries of members (default on)",
    "split_dns": "have systemd-resolved, where it runs, ask nodes for the mesh's names (default on)",
    "log_level": "least severe messages to log (default info)",
    "log_format": "how to log (default text)",
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meshd",
        description="The helper of meshtui: keeps this machine's private WireGuard networks. Runs in the foreground; "
        "SIGTERM ends it and leaves the tunnels up.",
        epilog="Every option is also a variable MESHD_… in the environment and a key in the TOML file.",
    )
    parser.add_argument("--version", action="version", version=f"meshd {VERSION}")
    parser.add_argument("--config", metavar="FILE", help=f"settings in TOML (default {CONFIG}, when it exists)")
    parser.add_argument(
        "--take-down",
        action="store_true",
        help="take down the tunnels, names and Redis that a stopped meshd left, and end; a start brings them back",
    )
    for name, text in DESCRIPTIONS.items():
        metavar = "DIR" if name in _PATHS else "URL" if name == "redis" else None
        parser.add_argument("--" + name.replace("_", "-"), choices=CHOICES.get(name), metavar=metavar, help=text)
    return parser


def load_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises InvalidInput naming the source and the key."""
    flags = make_parser().parse_args(arguments)
    given = flags.config or environment.get("MESHD_CONFIG")
    values: dict[str, Any] = {}
    if given or CONFIG.exists():
        values = read_file(Path(given) if given else CONFIG)
    for name in DESCRIPTIONS:
        variable = f"MESHD_{name.upper()}"
        if environment.get(variable):
            values[name] = _check(name, environment[variable], variable)
        if getattr(flags, name) is not None:
            values[name] = _check(name, getattr(flags, name), "--" + name.replace("_", "-"))
    return Settings(**values, take_down=flags.take_down)


def read_file(path: Path) -> dict[str, Any]:
    """The known keys of a TOML file. Raises InvalidInput."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}", "name another file: --config FILE") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path} is not TOML: {error}", "mend the file") from error
    values = {}
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in DESCRIPTIONS:
            raise InvalidInput(f"{path}: unknown key {key!r}", f"known keys: {', '.join(sorted(DESCRIPTIONS))}")
        values[name] = _check(name, value, f"{path}: {key}")
    return values


def _check(name: str, value: object, source: str) -> str | Path | bool:
    if isinstance(value, bool) and name in CHOICES:  # TOML has a word of its own for switches
        value = "on" if value else "off"
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"{source} must be a text")
    if name in CHOICES and value not in CHOICES[name]:
        raise InvalidInput(f"{source}: {value!r} is not one of {', '.join(CHOICES[name])}")
    if CHOICES.get(name) == tuple(_SWITCHES):
        return _SWITCHES[value]
    if name in _PATHS:
        if not value.startswith("/"):
            raise InvalidInput(f"{source}: {value!r} must be an absolute path")
        return Path(value)
    return value
