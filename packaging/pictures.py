"""The pictures of meshtui for the README and docs/, from a real mesh; `packaging/pictures` starts it."""

from __future__ import annotations

import argparse
import time
from html import escape
from pathlib import Path

from demo import BEHIND, ROUTE, Steps, build
from kept import Record
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network
from lab.terminal import Terminal
from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style

RECORD = Path("/run/meshtui-pictures.json")
IMAGES = Path(__file__).parent.parent / "docs" / "images"
SIZE, CELL, LINE, MARGIN = 16.61, 10, 20, 12
"""Of a letter of DejaVu Sans Mono: size, width, height of its line; and the space around all of it. In pixels."""
NO_BREAK = "\u00a0"
FOREGROUND, BACKGROUND = "#d5d9e2", "#12151c"


def svg(ansi: str) -> str:
    """A screen as tmux captured it, as a picture that loads nothing from elsewhere."""
    lines = list(AnsiDecoder().decode(ansi.rstrip("\n")))
    for line in lines:
        line.no_wrap, line.end = True, ""
    console = Console(width=500, color_system="truecolor", force_terminal=True)
    backs, texts, widest = [], [], 0
    for number, line in enumerate(lines):
        column = 0
        for segment in console.render(line):
            cells = cell_len(segment.text)
            style = segment.style or Style()
            front, back = _colour(style.color, FOREGROUND), _colour(style.bgcolor, BACKGROUND)
            if style.reverse:
                front, back = back, front
            x, y, width = MARGIN + column * CELL, MARGIN + number * LINE, cells * CELL
            if back != BACKGROUND:
                backs.append(f'<rect fill="{back}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{LINE}"/>')
            if segment.text.strip():
                look = ' font-weight="bold"' if style.bold else ""
                look += ' text-decoration="line-through"' if style.strike else ""
                look += ' opacity="0.6"' if style.dim else ""
                text = segment.text.strip()
                x += (cells - cell_len(segment.text.lstrip())) * CELL
                texts.append(
                    f'<text fill="{front}" x="{x:.1f}" y="{y + 15}" textLength="{cell_len(text) * CELL:.1f}"{look}>'
                    f"{escape(text).replace(' ', NO_BREAK)}</text>"
                )
            column += cells
        widest = max(widest, column)
    width, height = widest * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="{SIZE}"',
        ' font-family="\'DejaVu Sans Mono\', ui-monospace, Menlo, Consolas, \'Liberation Mono\', monospace">',
        f'<rect fill="{BACKGROUND}" width="{width:.0f}" height="{height}" rx="8"/>', *backs, *texts, "</svg>", "",
    ])  # fmt: skip


def _colour(colour: Color | None, default: str) -> str:
    return default if colour is None or colour.is_default else colour.get_truecolor().hex


def busy(network: Network, gateways: list[Host], laptops: list[Host]) -> None:
    """Traffic between everybody, a route, an invite, and somebody who is off."""
    addresses = {one["name"]: one["ipv4"] for one in gateways[0].meshctl("status")["meshes"][0]["members"]}
    network.add_lan_host("gw-paris", ROUTE, BEHIND)
    gateways[1].meshctl("routes", "add", ROUTE)
    gateways[0].meshctl("invites", "create", "laptop-bob", "--expires", "2d")
    gateways[0].meshctl("invites", "create", "--uses", "20", "--expires", "14d")
    gateways[0].meshctl("peers", "admin", "laptop-ada", "on")
    ada, grace = laptops
    for host, to, size, every, count in (
        (ada, "gw-berlin", 1200, 0.02, 500), (ada, "laptop-grace", 900, 0.05, 150), (grace, "gw-paris", 300, 0.1, 200),
        (ada, "gw-oslo", 400, 0.2, 40), (ada, "gw-paris", 1000, 0.03, 900),
    ):  # fmt: skip
        waves = f"while true; do ping -q -i {every} -c {count} -s {size} {addresses[to]}; sleep {count % 37 + 5}; done"
        host.record(["sh", "-c", waves], f"ping-{to}")


TABS = (
    ("1", "overview"), ("2", "members"), ("3", "nodes"), ("4", "routes"), ("5", "invites"), ("6", "topology"),
    ("7", "events"), ("8", "doctor"),
)  # fmt: skip


FURTHER = (
    ("2", "Enter", "story"), ("2", "d", "question"), ("5", "i", "invite"), ("1", "a", "join"), ("8", "?", "help"),
)  # fmt: skip
"""A tab, the key that opens something on it, and the picture's name. Escape leads back."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="pictures", description=__doc__)
    parser.add_argument("--seconds", type=int, default=240, help="how long traffic flows before (default 240)")
    parser.add_argument("--ansi", type=Path, metavar="FOLDER", help="also keep the screens as escape sequences")
    options = parser.parse_args()
    record = Record(RECORD)
    if not record.held:
        parser.error("another one runs")
    network = Network()
    IMAGES.mkdir(exist_ok=True)
    try:
        gateways, laptops = build(network, record, Steps())
        busy(network, gateways, laptops)
        time.sleep(options.seconds)
        terminal = Terminal(laptops[0], width=124, height=34)
        try:
            terminal.shows("home ● connected", "laptop-grace")
            terminal.press("G")
            wait_until(lambda: "▸ ● laptop-grace" in terminal.text(), 5, "laptop-grace to be selected")
            for key, name in TABS:
                terminal.press(key)
                time.sleep(1.2)
                for width, height in ((124, 34), (80, 24)) if options.ansi else ((124, 34),):
                    terminal.resize(width, height)
                    time.sleep(1)
                    screen = terminal.picture()
                    if options.ansi:
                        (options.ansi / f"{name}-{width}.ansi").write_text(screen)
                    if width == 124:
                        (IMAGES / f"{name}.svg").write_text(svg(screen))
            terminal.resize(124, 34)
            for tab, key, name in FURTHER:
                terminal.press(tab)
                time.sleep(1.2)
                terminal.press(key)
                time.sleep(2)
                (IMAGES / f"{name}.svg").write_text(svg(terminal.picture()))
                terminal.press("Escape")
                time.sleep(1)
        finally:
            terminal.close()
    finally:
        network.close()
        record.remove()
    print(f"made {', '.join(sorted(one.name for one in IMAGES.glob('*.svg')))} in docs/images")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
