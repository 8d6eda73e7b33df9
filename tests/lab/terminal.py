"""A program in a real terminal (tmux), most often meshtui on one of the lab's hosts: keys in, screen out."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess

from lab.hosts.host import BIN, Host, wait_until

_counter = itertools.count(1)


class Screen:
    """Ends the program and its tmux server with `close`. The server is its own; nobody else's is touched."""

    def __init__(self, command: list[str], *, width: int = 120, height: int = 40) -> None:
        self._server = f"meshtui-{os.getpid()}-{next(_counter)}"
        inside = ["env", "LC_ALL=C.UTF-8", "COLORTERM=truecolor", *command]
        line = f"{shlex.join(inside)}; echo ended with $?; read x"
        self._tmux(
            "new-session", "-d", "-x", str(width), "-y", str(height), line,
            ";", "set", "-g", "status", "off", ";", "set", "-g", "set-clipboard", "on",
        )  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._server, "-f", "/dev/null", *arguments]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def press(self, *keys: str) -> None:
        """Names as tmux has them: Enter, Escape, C-u; else the letters themselves."""
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def clipboard(self) -> str:
        """What meshtui handed to the terminal last, by OSC 52."""
        return self._tmux("show-buffer")

    def shows(self, *texts: str, limit: float = 15) -> str:
        """Waits for all of them on screen. Raises AssertionError with the screen, and last lines of those before."""
        seen: dict[str, None] = {}

        def shown() -> bool:
            screen = self.text()
            seen.update(dict.fromkeys(screen.rstrip().splitlines()[-4:]))
            return all(text in screen for text in texts)

        try:
            wait_until(shown, limit, f"{texts} on screen")
        except AssertionError as error:
            before = "\n".join(seen)
            raise AssertionError(f"{error}\n{self.text()}\nLast lines meanwhile:\n{before}") from None
        return self.text()

    def back(self, text: str) -> None:
        """Escape, until `text` is gone: a key right behind an escape would be read as one with Alt."""
        self.press("Escape")
        wait_until(lambda: text not in self.text(), 15, f"{text} to leave the screen")

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def picture(self) -> str:
        """The screen with its colours, as escape sequences."""
        return self._tmux("capture-pane", "-e", "-N", "-p")

    def close(self) -> None:
        self._tmux("kill-server")


class Terminal(Screen):
    """meshtui on a host."""

    def __init__(self, host: Host, *options: str, width: int = 120, height: int = 40) -> None:
        super().__init__([*host.enter, str(BIN / "meshtui"), *options], width=width, height=height)
