"""A tokenizer and untrained networks, small enough to build for every test."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from fleet.nano.engine import NanoModel
from fleet.nano.network import Llama, Shape, save
from fleet.nano.tokenizer import save_tokenizer, special_ids, train_tokenizer
from fleet.tasks import generate

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

VOCABULARY, WINDOW = 420, 96


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """Trained on a few tasks."""
    texts = [text for task in generate(220, 0, "train") for text in (task.prompt, task.answer)]
    return train_tokenizer(texts, VOCABULARY)


def shape(kv_heads: int = 4, window: int = WINDOW) -> Shape:
    """Two layers of width 32."""
    return Shape(tokenizer().get_vocab_size(), 32, 2, 4, kv_heads, 48, window)


def model(name: str = "tiny", seed: int = 0, **sizes: int) -> NanoModel:
    """A model that has learnt nothing, and so says anything."""
    network = Llama(shape(**sizes)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for part, weight in network.named_parameters():
        if weight.dim() == 2:
            spread = 0.02 if part.startswith("embedding") else weight.shape[1] ** -0.5
            weight.normal_(std=spread, generator=generator)
    network.norm.weight.mul_(25)  # or every draw would be nearly uniform
    return NanoModel.of(name, network, tokenizer())


def write(folder: Path, seed: int = 0, **sizes: int) -> Llama:
    """Such a model as a Hugging Face folder; returns the network."""
    network = model(seed=seed, **sizes).network
    save(network, folder, special_ids(tokenizer()))
    save_tokenizer(tokenizer(), folder, network.shape.window)
    return network
