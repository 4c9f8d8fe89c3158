from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from benchmarks import logged_traffic, report
from benchmarks.outcomes import OutcomesError
from tests.benchmarks.test_report import content
from tests.benchmarks.test_results import some_results
from tests.benchmarks.traffic import world, write


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same 150 prompts through a gateway that explores and through one that does not."""
    folder = tmp_path_factory.mktemp("stores")
    simulated, rows = world(folder / "world", prompts=150), np.arange(150)
    found = {}
    for name, exploration in (("curious", 0.6), ("sure", 0.0)):
        found[name] = f"{folder}/{name}.db"
        write(
            f"sqlite:///{found[name]}", simulated, rows, simulated.decisions(rows, 0.8, exploration, seed=1)
        )
    return found


@pytest.fixture(scope="module")
def measured(stores):
    return logged_traffic.measure(list(stores.values()), [0.0, 0.8, 1.0])


def printed(found):
    console = Console(file=io.StringIO(), width=100)
    logged_traffic.show(found, console)
    return console.file.getvalue()


def test_a_store_is_summed_up(measured, stores):
    curious = measured["curious"]
    assert curious.store == stores["curious"]
    assert (curious.decisions, curious.rows, curious.exploration) == (150, 150, pytest.approx(0.6))
    assert curious.begin == "2001-09-09T01:46:40+00:00"
    assert sum(seen.chosen for seen in curious.models.values()) == 150
    assert {seen.candidate for seen in curious.models.values()} == {150}
    by_name = {policy.policy: policy for policy in curious.policies}
    assert by_name["V0 at β=0.8"].success == by_name["as logged without exploring"].success
    assert set(by_name["as logged"].cost) == {"inverse_propensity", "self_normalised", "doubly_robust"}


def test_without_exploration_a_store_supports_no_policy_but_its_own(measured):
    sure = {policy.policy: policy for policy in measured["sure"].policies}
    assert measured["sure"].exploration == 0
    assert [name for name, policy in sure.items() if policy.refused is None] == [
        "as logged", "as logged without exploring", "V0 at β=0.8",
    ]  # fmt: skip
    assert "nothing was explored" in sure["V0 at β=1"].refused


def test_the_console_shows_figures_and_every_refusal(measured):
    said = printed(measured)
    assert "curious: 150 of 150 decisions, 60.0% explored" in said
    assert "refused: V0 at β=0, 1, always clerk, sage, scholar" in said
    assert "what it wants could not have been chosen, since nothing was explored" in said
    assert "nan" not in said.lower()


def test_the_page_holds_the_traffic(measured):
    held = content(report.page(some_results(off_policy=measured)))["results"]["off_policy"]
    assert held["curious"]["policies"][0]["policy"] == "as logged"
    assert held["sure"]["exploration"] == 0


def test_two_stores_of_one_name_are_refused(stores, tmp_path):
    import shutil

    again = tmp_path / "curious.db"
    shutil.copy(stores["curious"], again)
    with pytest.raises(OutcomesError, match="another store is called 'curious' too"):
        logged_traffic.measure([stores["curious"], str(again)], [1.0])
