"""A ping flood between two members: which of its packets were never answered."""

from __future__ import annotations

import re
import signal
import time
from types import TracebackType

from lab.hosts.host import Host, wait_until


class Flood:
    """Pings from `host` to `address` every `interval` seconds while it is open; then `sent` and `lost` are true."""

    def __init__(self, host: Host, address: str, interval: float = 0.01) -> None:
        self._host = host
        self._address = address
        self._interval = interval
        self._name = f"flood-{address}"
        self.sent = 0
        self.lost: list[int] = []

    def __enter__(self) -> Flood:
        command = ["ping", "-n", "-D", "-O", "-i", str(self._interval), self._address]
        self._process = self._host.record(command, self._name)
        wait_until(self.answers, 10, f"{self._address} to answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._host.send_signal(self._process, signal.SIGINT)
        self._process.wait(10)
        answered = self.answers()
        # What was sent last may still be on its way when ping ends.
        self.sent = max(answered)
        self.lost = sorted(set(range(1, self.sent + 1)) - answered)

    def answers(self) -> set[int]:
        """The numbers of the pings that were answered so far."""
        return {int(found) for found in re.findall(r"bytes from .* icmp_seq=(\d+) ", self._text())}

    def story(self) -> str:
        """What was lost, and when ping noticed."""
        noticed = {
            int(number): time.strftime("%H:%M:%S", time.gmtime(float(at))) + f".{at.partition('.')[2][:3]}"
            for at, number in re.findall(r"^\[([\d.]+)\] no answer yet for icmp_seq=(\d+)", self._text(), re.MULTILINE)
        }
        times = sorted({noticed.get(number, "?") for number in self.lost})
        numbers = ", ".join(map(str, self.lost[:40]))
        return f"{len(self.lost)} of {self.sent}, from {times[0]} to {times[-1]}: {numbers}"

    def _text(self) -> str:
        return self._host.recorded(self._name)


def dropped(host: Host) -> dict[str, int]:
    """Counters of packets that this host dropped, by name, where they are not 0."""
    found: dict[str, int] = {}
    for path in ("/proc/net/snmp", "/proc/net/netstat"):
        lines = host.run(["cat", path]).stdout.splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            kind, *fields = names.split()
            found.update(zip((f"{kind}{one}" for one in fields), map(int, values.split()[1:]), strict=True))
    for line in host.run("cat /proc/net/dev").stdout.splitlines()[2:]:
        name, *numbers = line.replace(":", " ").split()
        found |= {f"{name} received": int(numbers[3]), f"{name} sent": int(numbers[11])}
    words = ("Error", "Drop", "Discard", "Overflow", "received", "sent", "NoPorts", "NoRoutes", "RateLimit")
    return {name: value for name, value in found.items() if value and any(word in name for word in words)}
