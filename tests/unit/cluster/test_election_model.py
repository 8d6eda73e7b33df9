"""The election machine in a model of nodes, Redis, network and clocks (tests/election_model)."""

from pathlib import Path

import pytest
from election_model.mutations import MUTATIONS
from election_model.scenes import SCENES
from election_model.simulation import Simulation

SCHEDULES = 400


def test_no_schedule_violates_an_invariant():
    commits = elections = 0
    for seed in range(SCHEDULES):
        simulation = Simulation(seed)
        simulation.run()  # raises Violation
        commits += simulation.checker.commits
        elections += simulation.checker.elections
    assert commits > 5 * SCHEDULES
    assert elections > SCHEDULES


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_no_scene_violates_an_invariant(scene):
    scene()


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_broken_rule_is_noticed(name):
    mutation = MUTATIONS[name]
    assert mutation.caught(range(mutation.seed, mutation.seed + 300)), f"nothing notices: {name} ({mutation.rule})"


def test_the_list_of_broken_rules_is_shown():
    """docs/reliability.md has every one of them, with its rule and what notices it."""
    text = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()
    rows = {
        f"| {mutation.rule} | {name} | {'a scene' if mutation.scene else 'schedules'} |"
        for name, mutation in MUTATIONS.items()
    }
    assert {row for row in rows if row not in text} == set()
