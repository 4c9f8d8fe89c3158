from __future__ import annotations

import torch

from benchmarks.baselines import gradient


def test_the_weights_of_the_best_round_are_kept():
    weight = torch.nn.Linear(1, 1, bias=False)
    seen = []

    def error():
        seen.append(float(weight.weight.detach()))
        return abs(float(weight.weight.detach()) - 2.0)

    with torch.no_grad():
        weight.weight.fill_(0.0)
    optimiser = torch.optim.SGD(weight.parameters(), lr=1.0)
    rounds = [[torch.zeros(1, dtype=torch.long)]] * 4
    gradient.train(weight, optimiser, lambda _: -weight.weight.sum(), rounds, error)
    assert seen == [1.0, 2.0, 3.0, 4.0]
    assert float(weight.weight.detach()) == 2.0


def test_without_validation_the_last_round_is_kept():
    weight = torch.nn.Linear(1, 1, bias=False)
    before = float(weight.weight.detach())
    optimiser = torch.optim.SGD(weight.parameters(), lr=1.0)
    rounds = [[torch.zeros(1, dtype=torch.long)]] * 3
    gradient.train(weight, optimiser, lambda _: weight.weight.sum(), rounds, lambda: float("inf"))
    assert abs(float(weight.weight.detach()) - (before - 3)) < 1e-5


def test_an_epoch_is_every_prompt_once_and_small_tables_have_more_of_them():
    rounds = list(gradient.shuffled(prompts=10, batch=4, epochs=2, least_steps=0))
    assert [len(batches) for batches in rounds] == [3, 3]
    assert sorted(torch.cat(rounds[0]).tolist()) == list(range(10))
    many = list(gradient.shuffled(prompts=10, batch=4, epochs=2, least_steps=900))
    assert len(many) == gradient.ROUNDS
    assert sum(len(batches) for batches in many) == 900


def test_randomness_and_threads_are_left_as_they_were():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with gradient.seeded(3):
        first = torch.rand(2)
        assert torch.get_num_threads() == 1
    with gradient.seeded(3):
        assert torch.equal(torch.rand(2), first)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
