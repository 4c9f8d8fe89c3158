"""What every database under the store must do. Inherit `StoreContract` and give it a `url` fixture."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select

from router.keys.limits import Limits
from router.keys.spending import Sum
from router.store import queries, tables
from router.store.batch import write_batch
from router.store.engine import migrate, open_store, writing
from router.store.errors import RowRefused, StoreError, UnknownDecision
from router.store.keys import (
    Keyring,
    add_key,
    limit_key,
    list_keys,
    revoke_key,
    rotate_key,
    save_spending,
    spent_by_day,
)
from router.store.rows import CACHED, CandidateRow
from router.store.writer import Writer
from tests.router.store.rows import DIM, VERSION, decision, feedback, prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy import Engine


@asynccontextmanager
async def writer_on(engine: Engine, **options: float) -> AsyncIterator[Writer]:
    writer = Writer(engine, **options)  # type: ignore[arg-type]
    writer.start()
    try:
        yield writer
    finally:
        await writer.aclose()


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.execute(
            select(func.count()).select_from(tables.metadata.tables[table])
        ).scalar_one()


class StoreContract:
    @pytest.fixture
    def engine(self, url: str) -> Iterator[Engine]:
        engine = open_store(url)
        yield engine
        engine.dispose()

    def test_migrations_lead_to_exactly_the_tables_in_the_code(self, engine: Engine) -> None:
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []

    def test_migrating_again_changes_nothing(self, engine: Engine) -> None:
        write_batch(engine, [decision()], [feedback()])
        migrate(engine)
        assert count(engine, "outcomes") == 1

    async def test_a_decision_is_read_back_as_it_was_written(self, engine: Engine) -> None:
        written = decision(prompt=prompt(stored=True))
        async with writer_on(engine) as writer:
            writer.decision(written)
        assert queries.decision(engine, "dec_1") == written
        assert queries.decision(engine, "chatcmpl-dec_1") == written
        assert queries.decision(engine, "dec_2") is None

    async def test_feedback_finds_a_decision_that_is_still_queued(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            writer.decision(decision())
            outcome = await writer.feedback(feedback(score=0.25, comment="meh"))
        assert (outcome.model, outcome.score, outcome.decision_id) == ("small", 0.25, "dec_1")
        assert (outcome.cost_usd, outcome.input_tokens, outcome.output_tokens) == (0.002, 12, 34)
        assert queries.outcomes_since(engine, 0) == [outcome]

    async def test_acknowledged_feedback_is_committed(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            writer.decision(decision())
            outcome = await writer.feedback(feedback())
            assert [row.id for row in queries.outcomes_since(engine, 0)] == [outcome.id]

    async def test_feedback_by_completion_id_means_the_newest_decision_with_it(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            writer.decision(decision("dec_new", completion_id="same", created_at=2.0))
            writer.decision(decision("dec_old", completion_id="same", created_at=1.0))
            outcome = await writer.feedback(feedback("same"))
        assert outcome.decision_id == "dec_new"
        found = queries.decision(engine, "same")
        assert found is not None
        assert found.id == "dec_new"

    async def test_feedback_for_an_unknown_decision_names_it(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            with pytest.raises(UnknownDecision) as caught:
                await writer.feedback(feedback("dec_missing"))
        assert caught.value.reference == "dec_missing"

    async def test_the_latest_score_of_a_source_replaces_its_first(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            writer.decision(decision())
            first = await writer.feedback(feedback(score=0.0))
            second = await writer.feedback(feedback(score=1.0, created_at=2001.0))
        assert second.id == first.id
        assert second.revision > first.revision
        assert [row.score for row in queries.outcomes_since(engine, 0)] == [1.0]
        assert queries.outcomes_since(engine, first.revision) == [second]

    async def test_each_source_has_its_own_outcome(self, engine: Engine) -> None:
        async with writer_on(engine) as writer:
            writer.decision(decision())
            await writer.feedback(feedback(score=0.0))
            await writer.feedback(feedback(score=1.0, source="verifier"))
        rows = queries.outcomes_since(engine, 0)
        assert [(row.source, row.score) for row in rows] == [("feedback", 0.0), ("verifier", 1.0)]

    def test_two_scores_in_one_batch_are_one_outcome_with_the_latter(self, engine: Engine) -> None:
        first, second = write_batch(engine, [decision()], [feedback(score=0.0), feedback(score=1.0)])
        assert first is not None
        assert second is not None
        assert first.id == second.id
        assert queries.outcomes_since(engine, 0) == [second]

    def test_one_text_is_one_prompt_however_many_models_answered_it(self, engine: Engine) -> None:
        write_batch(engine, [decision("dec_1"), decision("dec_2", chosen="large")], [])
        write_batch(engine, [decision("dec_3")], [])
        assert count(engine, "prompts") == 1
        write_batch(engine, [decision("dec_4", prompt=prompt(version="fake-2"))], [])
        assert count(engine, "prompts") == 2

    def test_a_prompt_is_completed_by_who_knows_more_and_never_emptied(self, engine: Engine) -> None:
        bare = replace(prompt(), embedding=None)
        write_batch(engine, [decision("dec_1", prompt=bare)], [])
        write_batch(engine, [decision("dec_2", prompt=prompt(stored=True))], [])
        write_batch(engine, [decision("dec_3", prompt=bare)], [])
        found = queries.decision(engine, "dec_1")
        assert found is not None
        assert found.prompt == prompt(stored=True)

    def test_text_that_databases_refuse_is_kept_with_replacement_characters(self, engine: Engine) -> None:
        odd = replace(prompt(), text="a\0b\ud800c")
        write_batch(engine, [decision("dec_\0", prompt=odd)], [feedback("dec_\0", comment="\0")])
        found = queries.decision(engine, "dec_\0")
        assert found is not None
        assert found.prompt.text == "a\ufffdb\ufffdc"
        assert len(queries.outcomes_since(engine, 0)) == 1

    def test_numbers_that_are_none_are_not_stored(self, engine: Engine) -> None:
        odd = CandidateRow("small", float("nan"), float("inf"), 0.5)
        write_batch(engine, [decision(cost_usd=float("nan"), candidates=(odd,))], [])
        found = queries.decision(engine, "dec_1")
        assert found is not None
        assert found.cost_usd is None
        assert found.candidates == (CandidateRow("small", None, None, 0.5),)

    def test_a_batch_whose_commit_was_in_doubt_can_be_written_again(self, engine: Engine) -> None:
        write_batch(engine, [decision()], [feedback()])
        write_batch(engine, [decision(reason="another")], [feedback()])
        assert (count(engine, "decisions"), count(engine, "outcomes")) == (1, 1)

    def test_reading_by_revision_in_pages_misses_nothing(self, engine: Engine) -> None:
        names = [f"dec_{i}" for i in range(7)]
        write_batch(engine, [decision(name) for name in names], [feedback(name) for name in names])
        seen: list[str | None] = []
        revision = 0
        while page := queries.outcomes_since(engine, revision, limit=3):
            seen += [row.decision_id for row in page]
            revision = page[-1].revision
        assert seen == names
        assert revision == queries.last_revision(engine)

    def test_revisions_become_visible_in_their_order_under_several_writers(self, engine: Engine) -> None:
        names = [f"dec_{i}" for i in range(40)]
        write_batch(engine, [decision(name) for name in names], [])
        seen: list[int] = []
        with ThreadPoolExecutor(5) as threads:
            writes = [threads.submit(write_batch, engine, [], [feedback(name)]) for name in names]
            while not all(write.done() for write in writes):
                seen += [row.revision for row in queries.outcomes_since(engine, seen[-1] if seen else 0)]
        for write in writes:
            write.result()
        seen += [row.revision for row in queries.outcomes_since(engine, seen[-1] if seen else 0)]
        assert len(seen) == len(names)

    def test_the_newest_outcomes_come_oldest_first_and_only_of_the_version_asked_for(
        self, engine: Engine
    ) -> None:
        names = [f"dec_{i}" for i in range(5)]
        write_batch(engine, [decision(name) for name in names], [feedback(name) for name in names])
        other = decision("dec_x", prompt=prompt(version="fake-2"))
        large = decision("dec_y", chosen="large")
        bare = decision("dec_z", prompt=replace(prompt("other"), embedding=None))
        write_batch(engine, [other, large, bare], [feedback("dec_x"), feedback("dec_y"), feedback("dec_z")])
        rows = queries.newest_outcomes(engine, "small", VERSION, 3)
        assert [row.decision_id for row in rows] == ["dec_2", "dec_3", "dec_4"]
        assert queries.stale_outcomes(engine, ["small", "large"], VERSION) == 2

    def test_embeddings_come_back_as_float16(self, engine: Engine) -> None:
        (outcome,) = write_batch(engine, [decision()], [feedback()])
        (row,) = queries.outcomes_since(engine, 0)
        assert outcome is not None
        for embedding in (outcome.embedding, row.embedding):
            assert embedding.shape == (DIM,)
            assert embedding.dtype == np.float16
            np.testing.assert_allclose(embedding, 0.14, rtol=1e-3)

    async def test_a_row_that_is_refused_does_not_take_its_neighbours_along(self, engine: Engine) -> None:
        writer = Writer(engine)
        for i in range(4):
            writer.decision(decision(f"dec_{i}"))
        writer.decision(decision("dec_bad", key_id=999))  # no such key
        bad = asyncio.create_task(writer.feedback(feedback("dec_2", score=2.0)))
        good = asyncio.create_task(writer.feedback(feedback("dec_3")))
        await asyncio.sleep(0)
        writer.start()
        assert (await good).decision_id == "dec_3"
        with pytest.raises(RowRefused):
            await bad
        await writer.aclose()
        assert writer.health().dropped == 1
        assert count(engine, "decisions") == 4

    def test_summaries_count_and_average_each_model(self, engine: Engine) -> None:
        rows = [
            decision("dec_1"),
            decision("dec_2", cost_usd=0.004),
            decision("dec_3", chosen="x", cost_usd=None),
        ]
        write_batch(engine, rows, [feedback("dec_1", 0.0), feedback("dec_2", 1.0), feedback("dec_3", 0.5)])
        small, x = queries.model_summaries(engine)
        assert (small.model, small.rows, small.mean_score, small.last_outcome) == ("small", 2, 0.5, 2000.0)
        assert small.mean_cost == pytest.approx(0.003)
        assert (x.rows, x.mean_cost) == (1, None)

    async def test_a_key_is_known_by_its_secret_until_it_is_revoked(self, engine: Engine) -> None:
        key, secret = add_key(engine, "ci")
        keyring = Keyring(engine, ttl_s=0)
        assert await keyring.verify(secret) == key
        assert await keyring.verify(secret + "x") is None
        assert await keyring.verify("\ud800") is None
        revoke_key(engine, "ci")
        assert await keyring.verify(secret) is None

    async def test_an_answer_about_a_key_is_remembered_for_a_while(self, engine: Engine) -> None:
        _, secret = add_key(engine, "ci")
        keyring = Keyring(engine, ttl_s=60)
        assert await keyring.verify(secret) is not None
        revoke_key(engine, "ci")
        assert await keyring.verify(secret) is not None
        assert await Keyring(engine).verify(secret) is None

    async def test_known_keys_are_kept_in_memory_until_they_change(self, engine: Engine) -> None:
        key, secret = add_key(engine, "ci", Limits(day_usd=1.0))
        keyring = Keyring(engine, ttl_s=60)
        keyring.refresh()
        keyring._look_up = lambda hashed: pytest.fail("the store was asked")  # type: ignore[method-assign]
        assert await keyring.verify(secret) == key
        limited = limit_key(engine, "ci", Limits(day_usd=2.0))
        keyring.refresh()
        assert await keyring.verify(secret) == limited
        assert limited.limits.day_usd == 2.0

    async def test_another_secret_of_a_key_replaces_the_first(self, engine: Engine) -> None:
        key, old = add_key(engine, "ci", Limits(day_usd=1.0))
        rotated, new = rotate_key(engine, "ci")
        keyring = Keyring(engine)
        keyring.refresh()
        assert await keyring.verify(old) is None
        assert await keyring.verify(new) == rotated
        assert (rotated.id, rotated.limits) == (key.id, key.limits)
        assert rotated.hint == new[-4:]

    async def test_a_key_ends_when_it_expires(self, engine: Engine) -> None:
        _, over = add_key(engine, "over", Limits(expires_at=time.time() - 1))
        _, living = add_key(engine, "living", Limits(expires_at=time.time() + 60))
        keyring = Keyring(engine)
        assert await keyring.verify(over) is None
        keyring.refresh()
        assert await keyring.verify(over) is None
        assert await keyring.verify(living) is not None

    async def test_keys_are_configured_once_there_was_one(self, engine: Engine) -> None:
        keyring = Keyring(engine)
        keyring.refresh()
        assert not keyring.configured
        add_key(engine, "ci")
        revoke_key(engine, "ci")
        keyring.refresh()
        assert keyring.configured

    def test_what_a_key_spends_is_kept_by_day_and_process_and_may_be_written_again(
        self, engine: Engine
    ) -> None:
        key, _ = add_key(engine, "ci")
        save_spending(engine, "a", {(key.id, 0): Sum(1, 10, 5, 0.25), (key.id, 1): Sum(1, 1, 1, 1.0)})
        save_spending(engine, "a", {(key.id, 0): Sum(2, 20, 10, 0.5)})
        save_spending(engine, "a", {(key.id, 0): Sum(2, 20, 10, 0.5)})
        save_spending(engine, "b", {(key.id, 0): Sum(1, 4, 2, 0.125)})
        assert spent_by_day(engine) == {key.id: {0: Sum(3, 24, 12, 0.625), 1: Sum(1, 1, 1, 1.0)}}
        assert spent_by_day(engine, since_day=1) == {key.id: {1: Sum(1, 1, 1, 1.0)}}
        assert spent_by_day(engine, except_process="a") == {key.id: {0: Sum(1, 4, 2, 0.125)}}

    def test_what_a_cached_reply_is_worth_says_nothing_of_what_its_model_costs(self, engine: Engine) -> None:
        [outcome] = write_batch(engine, [decision(reason=CACHED, cost_usd=0.0)], [feedback()])
        assert outcome is not None
        assert (outcome.cost_usd, outcome.latency_ms) == (None, None)
        assert queries.outcomes_since(engine, 0) == [outcome]

    def test_the_store_holds_no_secret(self, engine: Engine) -> None:
        _, secret = add_key(engine, "ci")
        with engine.connect() as connection:
            (row,) = connection.execute(select(tables.keys)).all()
        assert secret not in str(row)
        assert secret.removeprefix("sk-v0-") not in str(row)

    def test_a_name_is_free_again_once_its_key_is_revoked(self, engine: Engine) -> None:
        add_key(engine, "ci")
        with pytest.raises(StoreError, match="exists already"):
            add_key(engine, "ci")
        revoke_key(engine, "ci")
        with pytest.raises(StoreError, match="no living key"):
            revoke_key(engine, "ci")
        add_key(engine, "ci")
        assert [key.revoked_at is None for key in list_keys(engine)] == [False, True]

    async def test_a_locked_store_fails_feedback_and_keeps_decisions_for_later(
        self, engine: Engine, url: str
    ) -> None:
        impatient = open_store(url, busy_timeout_s=0.1)
        async with writer_on(impatient) as writer:
            with writing(engine).begin() as connection:
                connection.execute(tables.revisions.update().values(last=tables.revisions.c.last))
                writer.decision(decision())
                with pytest.raises(StoreError, match="unavailable"):
                    await writer.feedback(feedback())
                assert writer.health().last_error is not None
            assert (await writer.feedback(feedback())).decision_id == "dec_1"
            assert writer.health().last_error is None
            assert writer.health().dropped == 0
        impatient.dispose()

    def test_foreign_keys_are_enforced(self, engine: Engine) -> None:
        with pytest.raises(Exception, match=r"(?i)foreign key"), writing(engine).begin() as connection:
            connection.execute(
                insert(tables.outcomes).values(
                    revision=1, prompt_id=9, model_id=9, score=1.0, source="import", created_at=0.0
                )
            )
