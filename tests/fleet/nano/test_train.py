from __future__ import annotations

import json
import math
import operator
import re
from dataclasses import replace
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fleet.nano import examples, train
from fleet.nano.beginning import fresh
from fleet.nano.drills import drill
from fleet.nano.examples import Diet
from fleet.nano.network import load
from fleet.nano.optimiser import Muon, orthogonal
from fleet.nano.roster import Recipe
from fleet.nano.tokenizer import save_tokenizer
from tests.fleet.nano import tiny

RECIPE = Recipe(
    "mini", "for tests", 16, 1, 2, 32, 6_000, Diet(("algebra",)), batch_tokens=1024, pool_tasks=48
)


@pytest.fixture
def out(tmp_path):
    save_tokenizer(tiny.tokenizer(), tmp_path / "tokenizer", 512)
    return tmp_path


def run(out, recipe=RECIPE, **more):
    reports = []
    folder = train.train(recipe, out, reports.append, worker=False, **more)
    return folder, reports


def test_training_learns_and_leaves_a_folder_that_transformers_loads(out):
    folder, reports = run(out, replace(RECIPE, tokens=150_000, diet=Diet(("logic",))))
    assert reports[-1].loss < 0.5 * math.log(tiny.VOCABULARY)  # what an untrained network loses
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who is the oldest?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    said = model.generate(**asked, max_new_tokens=8, do_sample=False)
    assert said.shape[1] > asked["input_ids"].shape[1]
    made = json.loads((folder / train.RECIPE).read_text())
    assert made["parameters"] == model.num_parameters()
    assert made["tokens"] >= 150_000


def test_a_run_that_stops_ends_with_the_same_weights(out, tmp_path_factory):
    straight, _ = run(out)
    elsewhere = tmp_path_factory.mktemp("again")
    save_tokenizer(tiny.tokenizer(), elsewhere / "tokenizer", 512)
    for steps in (1, 3, 4):
        assert run(elsewhere, most_steps=steps)[0] is None
    resumed, _ = run(elsewhere)
    for one, other in zip(load(straight).parameters(), load(resumed).parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_error_inside_a_step_leaves_the_state_before_it(out, monkeypatch):
    run(out, most_steps=2)
    before = torch.load(out / "training" / "mini" / "state.pt")
    with monkeypatch.context() as patched:
        patched.setattr(Muon, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(out)
    assert torch.load(out / "training" / "mini" / "state.pt")["at"] == before["at"]


def test_a_finished_model_is_not_trained_again(out):
    run(out)
    assert run(out)[1] == []


@pytest.mark.parametrize("steps", [2, None], ids=["half trained", "finished"])
def test_another_recipe_of_the_same_name_is_refused(out, steps):
    run(out, most_steps=steps)
    with pytest.raises(train.TrainingError, match="another recipe"):
        run(out, replace(RECIPE, seed=1))


def test_a_worker_makes_the_same_batches(out):
    def ids(source):
        return [[batch.ids.tolist() for batch in source(pool)] for pool in (0, 1)]

    with train._source(RECIPE, out / "tokenizer", worker=False) as here:
        expected = ids(here)
    with train._source(RECIPE, out / "tokenizer", worker=True) as there:
        assert ids(there) == expected
    assert expected[0] != expected[1]


# Examples


def some_batches(pool=0):
    tasks = examples.tasks(Diet(), 0, pool, 64)
    return examples.batches(tasks, 20, tiny.tokenizer(), "direct", Random(pool), 2048, 512)


def test_a_pool_is_decided_by_its_number():
    first, again, other = ([batch.ids.tolist() for batch in some_batches(pool)] for pool in (0, 0, 1))
    assert first == again != other


def test_replies_lie_between_their_marks_and_batches_within_their_size():
    tokenizer = tiny.tokenizer()
    assistant, end = tokenizer.token_to_id("<|assistant|>"), tokenizer.token_to_id("<|end|>")
    for batch in some_batches():
        rows = range(len(batch.ids))
        assert batch.ids.size <= 2048 or len(batch.ids) == 1
        assert (batch.ids[rows, batch.begins] == assistant).all()
        assert (batch.ids[rows, batch.ends] == end).all()
        assert all((batch.ids[row, batch.ends[row] + 1 :] == 0).all() for row in rows)
        assert (batch.ends > batch.begins).all()


def test_training_begins_with_drills_alone(out):
    recipe = replace(RECIPE, drill_pools=1, drill_share=0.5)
    first, second = (train.make_pool(recipe, out / "tokenizer", pool) for pool in (0, 1))
    rows = [sum(len(batch.ids) for batch in pool) for pool in (first, second)]
    assert rows == [2 * recipe.pool_tasks, round(1.5 * recipe.pool_tasks)]
    lengths = [
        sum(batch.tokens for batch in pool) / count for pool, count in zip((first, second), rows, strict=True)
    ]
    assert lengths[0] < lengths[1]  # drills are shorter than tasks


@pytest.mark.parametrize("number", range(40))
def test_a_drill_is_a_prompt_and_its_reply(number):
    asked, said = drill(Random(number))
    assert asked.strip()
    assert said
    if asked.startswith("Repeat: "):
        assert asked.removeprefix("Repeat: ") == said
    elif found := re.fullmatch(r"(\d+) ([+*/-]) (\d+)", asked):
        one, sign, two = found.groups()
        does = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}
        assert does[sign](int(one), int(two)) == int(said)


def test_easy_tasks_come_more_often():
    drawn = [task.difficulty for task in examples.tasks(Diet(), 0, 0, 440)]
    assert [drawn.count(difficulty) for difficulty in (1, 2, 3, 4, 5)] == [132, 132, 88, 44, 44]


def test_a_diet_is_kept():
    diet = Diet(("algebra", "logic"), unseen=("rules",), hardest=2)
    drawn = examples.tasks(diet, 0, 0, 60)
    assert {task.domain for task in drawn} == {"algebra", "logic"}
    assert "rules" not in {task.family for task in drawn}
    assert max(task.difficulty for task in drawn) == 2


# Losses and the optimiser


def test_only_the_reply_is_learnt_from():
    network = fresh(tiny.shape(), 0)
    ids = torch.tensor([[5, 6, 7, 8, 9, 0], [5, 6, 7, 8, 9, 10]])
    losses, weights = train.token_losses(network, ids, torch.tensor([2, 1]), torch.tensor([4, 5]))
    assert len(losses) == 2 + 4
    assert weights.tolist() == pytest.approx([2**-0.5] * 2 + [0.5] * 4)


def test_a_replys_loss_is_that_of_its_next_tokens():
    network = fresh(tiny.shape(), 0)
    ids = torch.tensor([[5, 6, 7, 8]])
    losses, _ = train.token_losses(network, ids, torch.tensor([1]), torch.tensor([3]))
    logprobs = torch.log_softmax(network.logits(network(ids)), -1)[0]
    torch.testing.assert_close(losses, -torch.stack([logprobs[1, 7], logprobs[2, 8]]))


@pytest.mark.parametrize("size", [(16, 16), (48, 16), (16, 40)])
def test_muons_updates_are_nearly_orthogonal(size):
    generator = torch.Generator().manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(2, *size, generator=generator)))
    assert 0.6 < float(singular.min()) < float(singular.max()) < 1.3


def test_the_learning_rate_goes_up_quickly_and_down_slowly():
    assert train.speed(0) < 0.02
    assert train.speed(train.WARMUP) == pytest.approx(1)
    assert train.speed(0.5) == pytest.approx(0.5, abs=0.05)
    assert train.speed(1) == pytest.approx(train.FLOOR)
