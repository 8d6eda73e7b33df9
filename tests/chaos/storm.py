"""A run: a mesh, clients, faults one after the other and sometimes two at once; then the check."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from chaos.cluster import Cluster, Healing
from chaos.faults import OF_MACHINES, OF_THE_NETWORK
from chaos.history import DONE, Findings, check, read

HEALED_WITHIN = 30.0
"""Seconds after the last cure until all have one view. Far above the goal: what is asked here is that it comes back."""


@dataclass(slots=True)
class Struck:
    """A fault, from when it struck until its cure was through (CLOCK_MONOTONIC)."""

    text: str
    began: float
    ended: float = math.inf
    in_rewrite: bool = False  # whether some append-only file was being rewritten when it struck


@dataclass(slots=True)
class Result:
    seed: int
    nodes: int
    seconds: float
    faults: list[Struck]
    findings: Findings
    healed: list[tuple[Healing, str]] = field(default_factory=list)  # after cures that were waited for, and of what
    rewrites: tuple[int, int] = (0, 0)  # begun, failed
    pauses: list[tuple[float, float]] = field(default_factory=list)  # two changes that were done, the farthest apart

    def text(self) -> str:
        took = [healing.seconds for healing, _ in self.healed]
        slowest = sorted(self.healed, key=lambda one: -one[0].seconds)[:3]
        outcomes = ", ".join(f"{count} {what}" for what, count in sorted(self.findings.outcomes.items()))
        lines = [
            f"seed {self.seed}: {self.nodes} nodes, {self.seconds:.0f} s, {len(self.faults)} faults, "
            f"{self.findings.epochs} epochs; changes: {outcomes}",
            f"one view after a cure: median {statistics.median(took):.1f} s, worst {max(took):.1f} s "
            f"({len(took)} times)",
            f"append-only files rewritten {self.rewrites[0]} times, {self.rewrites[1]} of them not to the end; "
            f"{sum(one.in_rewrite for one in self.faults)} faults struck meanwhile",
            *(f"{one.seconds:.1f} s to one view after {what}:\n{one.text()}" for one, what in slowest),
            *(f"{until - since:.1f} s without a change: {self._during(since, until)}" for since, until in self.pauses),
        ]
        return "\n".join([*lines, *self.findings.wrong])

    def _during(self, since: float, until: float) -> str:
        """What was wrong then, in seconds from the start of that pause."""
        return "; ".join(
            f"{one.text} ({one.began - since:+.1f} to {one.ended - since:+.1f} s)"
            for one in self.faults
            if one.began < until and one.ended > since - 1
        )


def storm(nodes: int, seconds: float, seed: int, verbose: bool = False) -> Result:
    dice = random.Random(seed)
    cluster = Cluster()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "history"
        try:
            cluster.start(nodes)
            writers = cluster.clients(seed, seconds, out)
            try:
                faults, healed = _faults(cluster, dice, seconds, verbose)
                writers.wait(60)
            except subprocess.TimeoutExpired:
                writers.kill()
                raise
            finally:
                if writers.poll() is None:
                    writers.kill()
                    writers.wait()
            assert writers.returncode == 0, "the clients failed"
            healed.append((cluster.settle(HEALED_WITHIN, exact=True), "everything"))
            operations = read(out.read_text())
            rewrites = cluster.rewrites()
            findings = check(operations, asyncio.run(cluster.copies()))
            findings.wrong += (f"{host.name}: {one}" for host in cluster.nodes.values() for one in host.faults())
            if findings.wrong and verbose:
                print(cluster.network.logs(cluster.nodes))
        finally:
            for host in cluster.network.hosts.values():
                host.destroy()  # what they logged was looked at
            cluster.network.router.destroy()
    ends = sorted(one.ended for one in operations if one.outcome == DONE)
    pauses = sorted(itertools.pairwise(ends), key=lambda pair: pair[0] - pair[1])[:5]
    return Result(seed, nodes, seconds, faults, findings, healed, rewrites, pauses)


def _faults(
    cluster: Cluster, dice: random.Random, seconds: float, verbose: bool
) -> tuple[list[Struck], list[tuple[Healing, str]]]:
    """Until the time is over; in the end everything is cured."""
    told: list[Struck] = []
    healed: list[tuple[Healing, str]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        cures, present = [], len(told)
        chosen = [dice.choice(OF_MACHINES), dice.choice(OF_THE_NETWORK)]
        for fault in chosen if dice.random() < 0.25 else [dice.choice(chosen)]:
            began, in_rewrite = time.monotonic(), bool(cluster.rewriting())
            text, cure = fault(cluster, dice)
            told.append(Struck(text, began, in_rewrite=in_rewrite))
            cures.append(cure)
            if verbose:
                print(f"{until - time.monotonic():6.1f} s left: {text}", flush=True)
        time.sleep(dice.uniform(0.5, 7.0))
        for cure in cures:
            cure()
        for one in told[present:]:
            one.ended = time.monotonic()
        if verbose:
            print("             cured", flush=True)
        if dice.random() < 0.5:
            healed.append((cluster.settle(HEALED_WITHIN), " and ".join(one.text for one in told[present:])))
        else:
            time.sleep(dice.uniform(0.0, 2.0))
    return told, healed
