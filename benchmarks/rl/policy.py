"""A nano model as a policy: replies drawn many at once, and their gradient. Prompts are read once for all replies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from fleet.nano.network import Cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from fleet.nano.engine import NanoModel
    from fleet.nano.network import Llama

CROWDED = 0.7  # the share of rows that have to be alive


@dataclass(frozen=True)
class Replies:
    """R replies to P prompts: `tokens` (R,S) with the end token, right-padded; `lengths` (R), `of` (R) the prompt."""

    prompts: Tensor  # (P,T) ids, padded on the right
    prompt_lengths: Tensor  # (P)
    of: Tensor
    tokens: Tensor
    lengths: Tensor

    def texts(self, model: NanoModel) -> list[str]:
        """What they say."""
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        said = (b"".join(model.pieces[token] for token in row[:length]) for row, length in rows)
        return [text.decode("utf-8", "replace") for text in said]


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids (P,T) and lengths (P)."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.zeros((len(prompts), int(lengths.max())), dtype=torch.long)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = torch.tensor(prompt)
    return ids, lengths


@torch.no_grad()
def sample(
    model: NanoModel,
    prompts: Sequence[Sequence[int]],
    counts: ArrayLike,
    most: int,
    luck: torch.Generator,
) -> Replies:
    """
    `counts` (P) replies to each prompt at temperature 1, of `most` tokens at most, in the order of the prompts.

    A reply that is cut off has no end token.
    """
    network, end = model.network, model.chat.end
    ids, prompt_lengths = padded(prompts)
    of = torch.arange(len(prompts)).repeat_interleave(torch.as_tensor(np.asarray(counts), dtype=torch.long))
    shape = replace(network.shape, window=ids.shape[1] + most)
    cache = Cache(shape, max(len(of), len(ids)), ids.device, network.embedding.weight.dtype)
    hidden = network.prefill(ids, cache, 0)
    logits = network.logits(hidden[torch.arange(len(ids)), prompt_lengths - 1])[of]
    cache.keys, cache.values = cache.keys[:, of], cache.values[:, of]
    tokens = torch.full((len(of), most), end)
    rows = torch.arange(len(of))  # which reply each of the cache's rows holds
    going = torch.ones(len(of), dtype=torch.bool)
    positions = prompt_lengths[of]
    for place in range(most):
        drawn = torch.where(going, _draw(logits, luck), end)
        tokens[rows, place] = drawn
        going = drawn != end
        if not going.any() or place == most - 1:
            break
        if going.float().mean() < CROWDED:  # those that have ended leave the cache
            cache.keys, cache.values = cache.keys[:, going], cache.values[:, going]
            rows, drawn, positions, going = rows[going], drawn[going], positions[going], going[going]
        logits = network.logits(network.step(drawn, positions, cache, int(positions.max()) + 1))
        positions = positions + 1
    ended = tokens == end
    lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, most)
    longest = int(lengths.max())
    return Replies(ids, prompt_lengths, of, tokens[:, :longest].clone(), lengths)


def _draw(logits: Tensor, luck: torch.Generator) -> Tensor:
    """Token ids (B) from logits (B,V), one random number each."""
    reached = torch.softmax(logits, dim=-1).cumsum(-1)
    aims = torch.rand(len(logits), 1, generator=luck) * reached[:, -1:]
    return torch.searchsorted(reached, aims, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def log_probabilities(network: Llama, replies: Replies) -> Tensor:
    """Of each reply as a whole, (R), with gradients. The same as whole sequences give, prompts read once."""
    of, tokens, lengths = replies.of, replies.tokens, replies.lengths
    at = torch.arange(replies.prompts.shape[1])
    places = torch.arange(
        tokens.shape[1] - 1
    )  # of tokens that predict another; the prompt's end predicts the first
    positions = replies.prompt_lengths[of][:, None] + places
    cos, sin = network.get_buffer("cos"), network.get_buffer("sin")
    seen = (at < replies.prompt_lengths[of][:, None])[:, None].expand(-1, len(places), -1)
    before = (places[:, None] >= places).expand(len(of), -1, -1)
    mask = torch.cat((seen, before), dim=2)[:, None]  # (R,1,S,T+S)
    x, y = network.embedding(replies.prompts), network.embedding(tokens[:, :-1])
    for block in network.ordered:
        queries, keys, values = block.project(x, cos[at][:, None], sin[at][:, None])
        asked, own_keys, own_values = block.project(y, cos[positions][:, :, None], sin[positions][:, :, None])
        shared = block.heads != block.kv_heads
        x = block.mix(
            x, F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=shared)
        )
        y = block.mix(
            y,
            F.scaled_dot_product_attention(
                asked,
                torch.cat((keys[of], own_keys), dim=2),
                torch.cat((values[of], own_values), dim=2),
                attn_mask=mask,
                enable_gqa=shared,
            ),
        )
    last = x[torch.arange(len(x)), replies.prompt_lengths - 1][of][:, None]
    logits = network.logits(network.norm(torch.cat((last, y), dim=1)))  # (R,S,V)
    each = torch.log_softmax(logits, dim=-1).gather(2, tokens[:, :, None])[:, :, 0]
    return (each * (torch.arange(tokens.shape[1]) < lengths[:, None])).sum(1)


def gradient(network: Llama, replies: Replies, advantages: NDArray[np.floating], rows: int = 256) -> float:
    """
    Leave the gradient of −Σ A·log π / R in the network, a few replies at a time; its norm.

    Replies of advantage 0 cost nothing, and equal replies to one prompt are read once.
    """
    network.zero_grad(set_to_none=True)
    merged, weights = _merged(replies, torch.as_tensor(advantages, dtype=torch.float32))
    for start in range(0, len(weights), rows):
        part = slice(start, start + rows)
        some = _chosen(merged, part)
        loss = -(weights[part] * log_probabilities(network, some)).sum() / len(replies.of)
        loss.backward()
    norms = [weight.grad.norm() for weight in network.parameters() if weight.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _merged(replies: Replies, advantages: Tensor) -> tuple[Replies, Tensor]:
    """One of each set of equal replies to a prompt, with the sum of their advantages; none where that is 0."""
    inside = torch.arange(replies.tokens.shape[1]) < replies.lengths[:, None]
    keys = torch.cat((replies.of[:, None], torch.where(inside, replies.tokens, -1)), dim=1)
    unique, group = keys.unique(dim=0, return_inverse=True)
    sums = torch.zeros(len(unique)).index_add_(0, group, advantages)
    first = torch.zeros(len(unique), dtype=torch.long)
    first[group.flip(0)] = torch.arange(len(group)).flip(0)
    kept = sums.abs() > 1e-6
    first = first[kept]
    some = Replies(
        replies.prompts,
        replies.prompt_lengths,
        replies.of[first],
        replies.tokens[first],
        replies.lengths[first],
    )
    return some, sums[kept]


def _chosen(replies: Replies, part: slice) -> Replies:
    """Some of the replies, with no more prompts than they answer and no more padding than they need."""
    asked, of = replies.of[part].unique(return_inverse=True)
    lengths, prompt_lengths = replies.lengths[part], replies.prompt_lengths[asked]
    return Replies(
        replies.prompts[asked, : int(prompt_lengths.max())],
        prompt_lengths,
        of,
        replies.tokens[part, : int(lengths.max())],
        lengths,
    )
