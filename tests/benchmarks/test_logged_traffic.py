from __future__ import annotations

import io
from dataclasses import replace
from random import Random

import numpy as np
import openai
import pytest
from rich.console import Console

from benchmarks import logged_traffic, report
from benchmarks.datasets.decisions import read_traffic
from benchmarks.off_policy import greedy, unexplored
from benchmarks.outcomes import OutcomesError
from fleet.breaker import BreakerSettings
from router.app import create_app
from tests.benchmarks.test_report import content
from tests.benchmarks.test_results import some_results
from tests.benchmarks.traffic import world, write
from tests.router.conftest import settings  # noqa: F401 (a fixture)
from tests.router.fakes import Fails, FakeScorer, Says, Scripted, fleet_of
from tests.router.serving import serving


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
    assert by_name["V0 at β=0.8"].success == by_name["without exploring"].success
    assert set(by_name["as logged"].cost) == {"inverse_propensity", "self_normalised", "doubly_robust"}


def test_without_exploration_a_store_supports_no_policy_but_its_own(measured):
    sure = {policy.policy: policy for policy in measured["sure"].policies}
    assert measured["sure"].exploration == 0
    assert [name for name, policy in sure.items() if policy.refused is None] == [
        "as logged", "without exploring", "V0 at β=0.8",
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


async def test_what_a_real_gateway_writes_is_what_is_read(settings, tmp_path):  # noqa: F811
    """The SDK over HTTP: routed requests at two β, a model that is down, a pinned request, missing feedback."""
    down = Scripted({each.name: Says("four") for each in settings.fleet} | {"middle": Fails(503)})
    app = create_app(
        replace(settings, exploration=0.5, beta=0.8, breaker=BreakerSettings(failures=0)),
        scorer=FakeScorer(),
        fleet=fleet_of(down, *settings.fleet),
    )
    async with (
        serving(app) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        app.state.services.gateway._rng = Random(5)
        for number in range(40):
            reply = await client.chat.completions.with_raw_response.create(
                model="weak" if number == 7 else "auto",
                messages=[{"role": "user", "content": f"What is {number} and two?"}],
                extra_body={"router": {"beta": 0.3}} if number % 2 else {},
            )
            if number % 4 != 2:
                body = {"decision_id": reply.headers["x-router-decision"], "score": number % 3 == 0}
                await client.post("/feedback", cast_to=object, body=body)
    traffic = read_traffic(str(tmp_path / "router.db"))
    log = traffic.log
    assert (traffic.decisions, len(log.scores)) == (40, 29)
    assert {note.why: note.count for note in log.exclusions} == {
        "the caller named the model": 1,
        "no outcome came in": 10,
    }
    assert log.models == ("middle", "strong", "weak")
    assert log.candidates.all()
    assert log.exploration == pytest.approx(0.5)
    best = log.propensities[np.arange(29), log.first]
    np.testing.assert_allclose(best, 1 - 0.5 + 0.5 / 3)
    drawn, middle = log.drawn.argmax(axis=1), log.models.index("middle")
    assert (drawn == middle).any()
    assert not (log.chosen == middle).any()
    np.testing.assert_array_equal(log.chosen == drawn, drawn != middle)
    scored = [number for number in range(40) if number % 4 != 2 and number != 7]
    assert log.scores.tolist() == [float(number % 3 == 0) for number in scored]
    for beta, rows in ((0.8, 0), (0.3, 1)):
        own = np.flatnonzero(np.array(scored) % 2 == rows)
        np.testing.assert_array_equal(greedy(log, beta)[own], unexplored(log)[own])
