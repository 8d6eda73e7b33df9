"""Three minutes of it: what was reported done is there, nothing was done twice, all copies are equal."""

from __future__ import annotations

import pytest

from chaos.storm import storm


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("nodes", "seconds", "seed"), [(3, 80, 20261121), (5, 80, 20261122)])
def test_nothing_that_was_reported_done_is_lost(nodes: int, seconds: float, seed: int) -> None:
    result = storm(nodes, seconds, seed)
    print(result.text())
    assert result.findings.wrong == []
    assert result.findings.epochs > 3, "nothing happened: the faults did not strike"
    assert result.rewrites[0] > 10, "files are to be rewritten meanwhile"
    assert result.findings.outcomes["done"] > 50
