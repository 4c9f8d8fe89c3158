from __future__ import annotations

import threading
import time
from random import Random

import pytest
import torch

from fleet.nano.batching import Batcher, Running
from fleet.nano.engine import Engine, EngineClosed, load_fleet
from fleet.nano.network import NetworkError
from fleet.nano.sampling import Sampling
from fleet.nano.text import Transcript
from tests.fleet.nano import tiny

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def model():
    return tiny.model()


def alone(model, prompt, most):
    """What the network says greedily, the whole sequence read anew for every token."""
    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) < len(prompt) + most:
            ids.append(int(model.network.logits(model.network(torch.tensor([ids]))[0, -1]).argmax()))
            if ids[-1] == model.chat.end:
                break
    return ids[len(prompt) :]


def prompts(model, count=12):
    rng = Random(3)
    words = ["What", "is", "4", "+", "7?", "Reverse", "'kipa'.", "Which", "day", "follows", "Monday,", "Ada?"]
    return [
        model.chat.encode([("user", " ".join(rng.choices(words, k=rng.randint(2, 12))))])
        for _ in range(count)
    ]


def running(model, prompt, sampling=GREEDY, most=12, deliver=lambda _: None, stops=(), each=False):
    return Running(
        prompt, most, sampling, sampling.luck(), Transcript(model.pieces, stops), deliver, each=each
    )


def drain(batcher):
    while batcher.busy:
        batcher.advance()


def test_a_batch_says_what_each_sequence_says_alone(model):
    batcher = Batcher(model.network, model.chat.end, most_rows=5)  # fewer rows than sequences: some wait
    sequences = [running(model, prompt, most=4 + n) for n, prompt in enumerate(prompts(model))]
    for sequence in sequences[:7]:
        batcher.waiting.append(sequence)
    for _ in range(3):
        batcher.advance()
    batcher.waiting.extend(sequences[7:])  # these join a running batch
    drain(batcher)
    for n, sequence in enumerate(sequences):
        assert sequence.ids == alone(model, sequence.prompt, 4 + n)


def test_replies_to_one_prompt_share_its_reading(model, monkeypatch):
    batcher = Batcher(model.network, model.chat.end, most_rows=16)
    one, two, three = prompts(model, 3)
    sequences = [running(model, prompt, most=9) for prompt in (one, one, two, one, three, three)]
    early = running(model, two, most=9)  # a row is taken when they come
    batcher.waiting.append(early)
    batcher.advance()
    read = []
    prefill = model.network.prefill
    monkeypatch.setattr(
        model.network, "prefill", lambda ids, *rest: (read.append(len(ids)), prefill(ids, *rest))[1]
    )
    batcher.waiting.extend(sequences)
    drain(batcher)
    assert read == [3]
    for sequence in (early, *sequences):
        assert sequence.ids == alone(model, sequence.prompt, 9)


def test_a_seeded_reply_does_not_depend_on_its_company(model):
    asked = prompts(model)[0]
    seeded = Sampling(temperature=1, seed=5)

    def said(company):
        batcher = Batcher(model.network, model.chat.end)
        one = running(model, asked, seeded, most=30)
        others = [running(model, prompt, Sampling(), most=3 + n) for n, prompt in enumerate(company)]
        batcher.waiting.extend([*others[:4], one, *others[4:]])
        drain(batcher)
        return one.ids

    assert said([]) == said(prompts(model)) == said(prompts(model)[:3])


def test_other_seeds_give_other_replies(model):
    batcher = Batcher(model.network, model.chat.end)
    sequences = [running(model, prompts(model)[0], Sampling(seed=seed), most=20) for seed in range(4)]
    batcher.waiting.extend(sequences)
    drain(batcher)
    assert len({tuple(sequence.ids) for sequence in sequences}) == 4


def test_a_cancelled_reply_frees_its_row_and_disturbs_nobody(model):
    batcher = Batcher(model.network, model.chat.end)
    sequences = [running(model, prompt, most=14) for prompt in prompts(model, 6)]
    batcher.waiting.extend(sequences)
    batcher.advance()
    sequences[0].cancelled = sequences[3].cancelled = True
    batcher.advance()
    assert len(batcher.running) <= 4
    drain(batcher)
    for n in (1, 2, 4, 5):
        assert sequences[n].ids == alone(model, sequences[n].prompt, 14)
    assert len(sequences[0].ids) < 14 or sequences[0].ids[-1] == model.chat.end


class Heard:
    """What an engine delivers."""

    def __init__(self):
        self.pieces, self.ended, self.thread = [], threading.Event(), None

    def __call__(self, piece):
        self.pieces.append(piece)
        self.thread = threading.current_thread()
        if piece.finish or piece.failed:
            self.ended.set()

    def wait(self):
        assert self.ended.wait(60)
        return self.pieces[-1]

    @property
    def text(self):
        return "".join(piece.text for piece in self.pieces)


@pytest.fixture(scope="module")
def engine(model):
    with Engine({"tiny": model, "other": tiny.model("other", seed=1)}) as engine:
        yield engine


def ask(engine, prompt, most=16, sampling=GREEDY, name="tiny", **more):
    heard = Heard()
    heard.running = engine.submit(name, prompt, most, sampling, heard, **more)
    return heard


def test_pieces_of_a_stream_add_up_to_the_whole_reply(engine, model):
    prompt = prompts(model)[1]
    whole, streamed = ask(engine, prompt), ask(engine, prompt, each=True)
    assert whole.wait().text == (streamed.wait(), streamed.text)[1]
    assert len(whole.pieces) == 1
    assert len(streamed.pieces) > 3
    assert whole.pieces[0].tokens == streamed.pieces[-1].tokens


def test_models_differ_and_run_side_by_side(engine, model):
    prompt = prompts(model)[2]
    one, other = ask(engine, prompt, each=True), ask(engine, prompt, name="other")
    assert one.wait().finish
    other.wait()
    assert one.text != other.text


def test_most_tokens_end_a_reply_with_length(engine, model):
    last = ask(engine, prompts(model)[0], most=2).wait()
    assert (last.finish, last.tokens) == ("length", 2)


def test_the_window_ends_a_reply_with_length(engine, model):
    prompt = (prompts(model)[0] * 20)[: model.window - 3]
    last = ask(engine, prompt, most=1000, sampling=Sampling(temperature=0)).wait()
    assert last.tokens <= 3


def test_a_full_window_is_refused(engine, model):
    with pytest.raises(ValueError, match=f"{model.window}"):
        ask(engine, [5] * model.window)


def test_a_stop_string_ends_the_reply_before_it(engine, model):
    prompt = prompts(model)[1]
    whole = ask(engine, prompt, most=40).wait().text
    stop = whole[5:7]
    heard = ask(engine, prompt, most=40, stops=[stop], each=True)
    assert heard.wait().finish == "stop"
    assert heard.text == whole[: whole.index(stop)]


def test_log_probabilities_come_with_their_tokens(engine, model):
    heard = ask(
        engine, prompts(model)[0], most=6, sampling=Sampling(temperature=0, alternatives=3), each=True
    )
    heard.wait()
    scored = [one for piece in heard.pieces for one in piece.scored]
    assert [one.token for one in scored] == [token for token in heard.running.ids if token != model.chat.end]
    assert all(one.logprob == one.top[0][1] <= 0 and len(one.top) == 3 for one in scored)


def test_nothing_is_generated_in_the_callers_thread(engine, model):
    heard = ask(engine, prompts(model)[0])
    heard.wait()
    assert heard.thread is not threading.current_thread()


def test_a_cancelled_reply_says_no_more(engine, model):
    heard = ask(engine, prompts(model)[0], most=60, sampling=Sampling(seed=1), each=True)
    engine.cancel(heard.running)
    deadline = time.monotonic() + 20
    while engine.load_of("tiny") != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.load_of("tiny") == (0, 0)


def test_closing_fails_what_runs_and_refuses_what_comes(model):
    engine = Engine({"tiny": model})
    started = [ask(engine, prompts(model)[n], most=80, sampling=Sampling(seed=n)) for n in range(8)]
    engine.close()
    assert all(heard.ended.is_set() for heard in started)
    with pytest.raises(EngineClosed):
        ask(engine, prompts(model)[0])


def test_a_broken_model_fails_its_replies_and_not_the_others(monkeypatch):
    broken, sound = tiny.model("broken"), tiny.model("sound", seed=2)
    with Engine({"broken": broken, "sound": sound}) as engine:
        monkeypatch.setattr(broken.network, "prefill", lambda *_: 1 / 0)
        assert ask(engine, prompts(broken)[0], name="broken").wait().failed
        assert ask(engine, prompts(sound)[0], name="sound").wait().finish


def test_a_fleet_is_every_model_folder(tmp_path):
    for name in ("b", "a"):
        tiny.write(tmp_path / name)
    (tmp_path / "training").mkdir()
    assert list(load_fleet(tmp_path)) == ["a", "b"]
    assert list(load_fleet(tmp_path / "a")) == ["a"]
    with pytest.raises(NetworkError, match="no folder"):
        load_fleet(tmp_path / "training")
