"""What goes wrong, and persons who do things, at random times."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from meshd.cluster.election.messages import ForceWanted, HandOverWanted
from meshd.cluster.election.state import timing_of

from election_model.node import Node
from election_model.simulation import Simulation


def plan(simulation: Simulation) -> None:
    """The next fault, and from it the one after."""

    def strike() -> None:
        if simulation.peace or simulation.now > simulation.seconds:
            return
        names = simulation.only or tuple(FAULTS)
        FAULTS[simulation.chance.choice(names)](simulation)
        plan(simulation)

    simulation.after(simulation.chance.expovariate(1 / simulation.gap), strike)


def plan_timing(simulation: Simulation) -> None:
    """Now and then somebody sets the election time-out; each node learns in its time what is set by then, or not."""
    chance = random.Random(f"{simulation.seed} timing")

    def change() -> None:
        if simulation.peace:
            return
        wanted = timing_of(chance.choice((1.0, 1.5, 3.0)))
        simulation.tell(f"time-out of {wanted.timeout} s")
        simulation.timing = wanted
        for node in simulation.nodes.values():
            node.later(chance.choice((0.0, 0.01, 0.3, 1.0)), lambda n=node: n.pace(simulation.timing))
        simulation.after(chance.uniform(0.1, 4.0), change)

    simulation.after(chance.uniform(0.0, 3.0), change)


def plan_growth(simulation: Simulation) -> None:
    """Files grow at any time, mostly those of several nodes together; now and then a disk has no room for a second."""
    chance = random.Random(f"{simulation.seed} growth")

    def grow() -> None:
        if simulation.peace:
            return
        nodes = list(simulation.nodes.values())
        for node in chance.choice((nodes, nodes, [chance.choice(nodes)])):
            node.redis.outgrown = True
            node.no_room = chance.random() < 0.15
        simulation.tell("files have grown")
        simulation.after(chance.uniform(0.5, 4.0), grow)

    simulation.after(chance.uniform(0.0, 1.0), grow)


def end_all(simulation: Simulation) -> None:
    """Peace: everything runs, everybody reaches everybody, clocks are right."""
    chance = random.Random(f"{simulation.seed} peace")
    simulation.loss = simulation.slow = 0.0
    simulation.blocked.clear()
    simulation.unlinked.clear()
    simulation.tell("peace")
    for node in simulation.nodes.values():
        node.disk_full = node.no_room = False
        node.paused_until = 0.0
        node.set_clock(0.0, 1.0)
        if not node.redis.alive:
            start_redis(simulation, node)
        if not node.up:
            node.start()
        if simulation.may_pace:
            node.later(chance.choice((0.0, 0.3, 1.0)), partial(node.pace, simulation.timing))


def some(simulation: Simulation) -> Node:
    """The primary half of the time."""
    nodes = list(simulation.nodes.values())
    leading = [node for node in nodes if node.up and node.state.leading]
    return simulation.chance.choice(leading if leading and simulation.chance.random() < 0.5 else nodes)


def crash(simulation: Simulation) -> None:
    """The helper alone ends and is started again."""
    node = some(simulation)
    if node.up:
        simulation.tell(f"{node.id} helper ends")
        node.stop()
        simulation.after(simulation.chance.choice((0.02, 0.3, 2.0)), lambda: node.up or node.start())


def power_cut(simulation: Simulation) -> None:
    """Helper and Redis end; what was not on disk is gone."""
    node = some(simulation)
    simulation.tell(f"{node.id} loses power")
    node.stop()
    stop_redis(simulation, node, noticed=False)

    def back() -> None:
        if not node.redis.alive:
            start_redis(simulation, node)
        if not node.up:
            node.start()

    simulation.after(simulation.chance.choice((0.1, 0.5, 3.0)), back)


def stop_redis(simulation: Simulation, node: Node, noticed: bool = True) -> None:
    if node.redis.alive:
        node.redis.alive = False
        node.redis.run += 1
        if noticed:
            node.redis_failed("redis ended")


def start_redis(simulation: Simulation, node: Node) -> None:
    node.redis.restart()
    node.redis_failed("redis was started again")
    node.later(0.02, node.look)


def redis_crash(simulation: Simulation) -> None:
    node = some(simulation)
    if node.redis.alive:
        simulation.tell(f"{node.id} redis ends")
        stop_redis(simulation, node)
        simulation.after(
            simulation.chance.choice((0.001, 0.05, 0.5, 2.0)),
            lambda: node.redis.alive or start_redis(simulation, node),
        )


def damage(simulation: Simulation) -> None:
    """Redis comes back with less than was on disk, or with nothing."""
    node = some(simulation)
    if not simulation.may_damage or not node.redis.alive:
        return
    simulation.damaged.add(node.id)
    back = simulation.chance.choice((1, 2, 3, -1, -1))
    simulation.tell(f"{node.id} redis ends and loses {'everything' if back < 0 else back}")
    stop_redis(simulation, node)
    node.redis.lose(back)
    simulation.after(simulation.chance.choice((0.001, 0.1)), lambda: node.redis.alive or start_redis(simulation, node))


def hang(simulation: Simulation) -> None:
    node = some(simulation)
    length = simulation.chance.choice((0.1, 0.6, 2.0))
    simulation.tell(f"{node.id} redis hangs for {length} s")
    node.redis.hung_until = max(node.redis.hung_until, simulation.now + length)  # what waits is carried out then
    if length > 0.5:
        node.later(0.5, lambda: node.redis_failed("redis hangs"))
    node.later(length + 0.01, node.look)


def pause(simulation: Simulation) -> None:
    """The helper stands still while its clock goes on."""
    node = some(simulation)
    length = simulation.chance.choice((0.1, 0.9, 1.5, 3.0))
    simulation.tell(f"{node.id} helper pauses for {length} s")
    node.paused_until = simulation.now + length
    if simulation.chance.random() < 0.5:
        node.redis.hung_until = max(node.redis.hung_until, simulation.now + length)


def cut(simulation: Simulation) -> None:
    """Some messages do not arrive: between two parts, from or to one node, one way, or replication alone."""
    chance = simulation.chance
    ids = sorted(simulation.nodes)
    chance.shuffle(ids)
    part = set(ids[: chance.randint(1, len(ids) - 1)]) if chance.random() < 0.6 else {some(simulation).id}
    ways = chance.choice((("in", "out"), ("in", "out"), ("in",), ("out",)))
    pairs = set()
    for one in part:
        for other in simulation.everyone - part:
            if "out" in ways:
                pairs.add((one, other))
            if "in" in ways:
                pairs.add((other, one))
    what = chance.choice(("both", "both", "messages", "replication"))
    simulation.tell(f"cut {sorted(part)} {ways} {what}")
    if what != "replication":
        simulation.blocked |= pairs
    if what != "messages":
        simulation.unlinked |= pairs

    def heal() -> None:
        if not simulation.peace:  # which healed it, and may have cut others off
            simulation.blocked -= pairs
            simulation.unlinked -= pairs

    simulation.after(chance.choice((0.2, 1.0, 2.5, 4.0)), heal)


def lossy(simulation: Simulation) -> None:
    simulation.loss = simulation.chance.choice((0.0, 0.1, 0.5))
    simulation.after(1.5, lambda: setattr(simulation, "loss", 0.0))


def slow(simulation: Simulation) -> None:
    simulation.slow = simulation.chance.choice((0.02, 0.2, 0.6))
    simulation.after(2.0, lambda: setattr(simulation, "slow", 0.0))


def clock(simulation: Simulation) -> None:
    node = some(simulation)
    if simulation.honest_clocks:
        return
    jump = simulation.chance.choice((-2.0, -0.5, 0.0, 0.5, 3.0))
    rate = simulation.chance.choice((0.1, 0.7, 1.0, 1.5, 4.0))
    simulation.tell(f"{node.id} clock jumps by {jump} and runs at {rate}")
    node.set_clock(jump, rate)


def full_disk(simulation: Simulation) -> None:
    node = some(simulation)
    node.disk_full = True
    simulation.after(simulation.chance.choice((0.05, 1.0)), lambda: setattr(node, "disk_full", False))


def hand_over(simulation: Simulation) -> None:
    target = simulation.chance.choice(sorted(simulation.nodes))
    for node in simulation.nodes.values():
        if node.up and node.state.leading:
            simulation.tell(f"{node.id} is asked to hand over to {target}")
            node.deliver(HandOverWanted(target))


def change_voters(simulation: Simulation) -> None:
    chance = simulation.chance
    ids = sorted(simulation.nodes)
    if chance.random() < 0.3:
        chance.shuffle(ids)
    simulation.wanted = tuple(ids[: chance.randint(1, len(ids))])
    simulation.tell(f"wanted voters: {simulation.wanted}")


def force(simulation: Simulation) -> None:
    node = simulation.chance.choice(list(simulation.nodes.values()))
    if simulation.may_force and node.up and simulation.chance.random() < 0.4:
        chance = random.Random(f"{simulation.seed} forced at {simulation.now}")
        slot = chance.getrandbits(24)
        if not simulation.may_damage or chance.random() < 0.5:
            simulation.tell(f"{node.id} is forced to lead")
            node.deliver(ForceWanted(slot))
            return
        said = node.state.position  # to a person, who takes some time to agree
        simulation.tell(f"{node.id} is forced to lead with {said} at least")
        known = simulation.checker.accepted
        known[node.id] = min(said, known.get(node.id, said))
        node.deliver(ForceWanted(slot, said), chance.choice((0.0, 0.5, 2.0)))


def separate(simulation: Simulation, node: Node, heard: bool, hears: bool, copied: bool = False) -> None:
    """For good: this node and all others."""
    simulation.tell(f"{node.id} is{'' if heard else ' not'} heard, hears {'all' if hears else 'nobody'}")
    others = simulation.everyone - {node.id}
    out, into = {(node.id, other) for other in others}, {(other, node.id) for other in others}
    simulation.blocked |= (set() if heard else out) | (set() if hears else into)
    if not copied:
        simulation.unlinked |= out | into


def lie_still(simulation: Simulation, node: Node, helper: bool, redis: bool) -> None:
    simulation.tell(f"{node.id} pauses for good: helper {helper}, redis {redis}")
    if helper:
        node.paused_until = float("inf")
    if redis:
        node.redis.hung_until = float("inf")
        node.later(0.5, lambda: node.redis_failed("redis hangs"))


def lie_dead(simulation: Simulation, node: Node, helper: bool, redis: bool) -> None:
    simulation.tell(f"{node.id} is dead: helper {helper}, redis {redis}")
    if helper:
        node.stop()
    if redis:
        stop_redis(simulation, node)


AILMENTS: dict[str, Callable[[Simulation, Node], None]] = {
    "cut off": lambda simulation, node: separate(simulation, node, heard=False, hears=False),
    "hears nobody": lambda simulation, node: separate(simulation, node, heard=True, hears=False),
    "hears nobody, is copied": lambda simulation, node: separate(
        simulation, node, heard=True, hears=False, copied=True
    ),
    "is not heard": lambda simulation, node: separate(simulation, node, heard=False, hears=True),
    "helper dead": lambda simulation, node: lie_dead(simulation, node, helper=True, redis=False),
    "redis dead": lambda simulation, node: lie_dead(simulation, node, helper=False, redis=True),
    "dead": lambda simulation, node: lie_dead(simulation, node, helper=True, redis=True),
    "helper paused": lambda simulation, node: lie_still(simulation, node, helper=True, redis=False),
    "redis hangs": lambda simulation, node: lie_still(simulation, node, helper=False, redis=True),
    "paused": lambda simulation, node: lie_still(simulation, node, helper=True, redis=True),
}
"""What may be wrong with a node for good, while a majority of sound ones has to go on without it."""

FAULTS: dict[str, Callable[[Simulation], None]] = {
    "crash": crash,
    "power": power_cut,
    "redis": redis_crash,
    "damage": damage,
    "hang": hang,
    "pause": pause,
    "cut": cut,
    "cut again": cut,
    "lossy": lossy,
    "slow": slow,
    "clock": clock,
    "full": full_disk,
    "hand over": hand_over,
    "voters": change_voters,
    "force": force,
}
