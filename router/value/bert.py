"""A BERT encoder for inference on a CPU: the sums of the published model, without padding and without its library.

sentence-transformers and transformers take seconds and hundreds of megabytes to import; a prompt of fifty tokens is
then slow for what surrounds the sums rather than for them. Here texts of a batch lie end to end, so that no sum is
done for padding. `fp32` computes as the published model does. `bf16` rounds the operands of the matrix products, whose
sums stay float32, on processors that multiply bfloat16 (AMX, AVX512-BF16): a third of the time, cosine above .9999.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Linear = Callable[[torch.Tensor], torch.Tensor]

Precision = Literal["fp32", "bf16"]

USUAL_TOKENS = 64  # of a batch: the products are laid out for about as many


class Bert:
    """Token ids to hidden states, by weights named as in the published files."""

    def __init__(
        self, config: dict[str, Any], weights: dict[str, torch.Tensor], precision: Precision = "fp32"
    ) -> None:
        self.width: int = config["hidden_size"]
        self.layers: int = config["num_hidden_layers"]
        self.weights = weights
        self.precision = precision
        self._config = config
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._words = weights["embeddings.word_embeddings.weight"]
        kinds = weights["embeddings.token_type_embeddings.weight"][0]
        self._places = weights["embeddings.position_embeddings.weight"] + kinds
        self._begin = self._norm("embeddings.LayerNorm")
        self._stack = [self._layer(f"encoder.layer.{number}.") for number in range(self.layers)]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The encoder of a folder; None where it holds another architecture than BERT's."""
        config = _json(folder / "config.json")
        file = folder / "model.safetensors"
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu" or not file.is_file():
            return None
        if config.get("position_embedding_type", "absolute") != "absolute":
            return None
        weights = {name.removeprefix("bert."): tensor.float() for name, tensor in load_file(file).items()}
        return cls(config, weights)

    def at(self, precision: Precision) -> Bert:
        """The same weights computed otherwise. Raises ValueError where this machine cannot."""
        if precision == "bf16" and not multiplies_bf16():
            raise ValueError("this machine has no fast bfloat16 products")
        return Bert(self._config, self.weights, precision)

    def with_layers(self, layers: dict[str, torch.Tensor]) -> Bert:
        """The same with some weights replaced. Raises KeyError with the name of one that does not fit."""
        for name, tensor in layers.items():
            if name not in self.weights or self.weights[name].shape != tensor.shape:
                raise KeyError(name)
        return Bert(self._config, self.weights | {k: v.float() for k, v in layers.items()}, self.precision)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Of texts' token ids, none of them empty: padded last states (B, T, H), the mask (B, T) of real tokens, and every
        layer's states averaged over them (B, L+1, H), what enters the first layer included.

        Texts of about one length, each at most twice as long as another, share a pass: attention is the one sum that
        pads, by the square of the longest.
        """
        alike: dict[int, list[int]] = {}
        for number, ids in enumerate(texts):
            alike.setdefault((len(ids) - 1).bit_length(), []).append(number)
        lengths = torch.tensor([len(ids) for ids in texts])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        if len(alike) == 1:
            states, layers = self._pass(texts, mask)
            return states, mask, layers
        states = torch.zeros(*mask.shape, self.width)
        layers = torch.empty(len(texts), self.layers + 1, self.width)
        for members in alike.values():
            part = mask[members][:, : int(lengths[members].max())]
            states[members, : part.shape[1]], layers[members] = self._pass([texts[i] for i in members], part)
        return states, mask, layers

    def _pass(self, texts: Sequence[Sequence[int]], mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded states (B, T, H) and layers on average (B, L+1, H) of texts that share a pass."""
        lengths, longest = mask.sum(1), mask.shape[1]
        where = None if bool((lengths == longest).all()) else mask.flatten().nonzero().squeeze(1)
        ids = torch.tensor([number for each in texts for number in each])
        places = torch.cat([self._places[: len(each)] for each in texts])
        x = self._begin(self._words[ids] + places)  # (S, H): S tokens of all texts, end to end
        means = [_means(x, lengths)]
        for join, out, widen, narrow, after_attention, after in self._stack:
            x = after_attention(x + out(self._attend(join(x), mask, where)))
            x = after(x + narrow(widen(x)))
            means.append(_means(x, lengths))
        return _padded(x, mask, where), torch.stack(means, dim=1)

    def _attend(self, joined: torch.Tensor, mask: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
        """Queries, keys and values (S, 3·H) to what attention makes of them (S, H)."""
        texts, longest = mask.shape
        shape = (texts, longest, 3, self._heads, self.width // self._heads)
        query, key, value = _padded(joined, mask, where).view(shape).permute(2, 0, 3, 1, 4)  # (B, A, T, H/A)
        seen = None if where is None else mask[:, None, None, :]
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        flat = found.transpose(1, 2).reshape(texts * longest, self.width)
        return flat if where is None else flat[where]

    def _layer(self, prefix: str) -> tuple[Linear, ...]:
        names = [prefix + f"attention.self.{each}" for each in ("query", "key", "value")]
        return (
            self._linear(*names, keep=True),
            self._linear(prefix + "attention.output.dense"),
            self._linear(prefix + "intermediate.dense", gelu=True, keep=True),
            self._linear(prefix + "output.dense"),
            self._norm(prefix + "attention.output.LayerNorm"),
            self._norm(prefix + "output.LayerNorm"),
        )

    def _norm(self, name: str) -> Linear:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return lambda x: F.layer_norm(x, (self.width,), weight, bias, self._epsilon)

    def _linear(self, *names: str, gelu: bool = False, keep: bool = False) -> Linear:
        """One product for several layers side by side; `keep` leaves its result in the precision of the product."""
        weight, bias = (
            torch.cat([self.weights[f"{name}.{part}"] for name in names]) for part in ("weight", "bias")
        )
        if self.precision == "fp32":
            return (
                (lambda x: F.gelu(F.linear(x, weight, bias)))
                if gelu
                else (lambda x: F.linear(x, weight, bias))
            )
        multiply = (
            torch.ops.mkldnn._linear_pointwise
        )  # what torch.compile calls: its own layout is done once, here
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), USUAL_TOKENS)
        half = bias.bfloat16()
        after, how = ("gelu", "none") if gelu else ("none", "")

        def linear(x: torch.Tensor) -> torch.Tensor:
            product = multiply(x.bfloat16(), packed, half, after, [], how)
            return product if keep else product.float()

        return linear


def multiplies_bf16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32, and torch can."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    packs = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )
    return bool(torch.backends.mkldnn.is_available() and packs and known is not None and known())


def _means(flat: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Rows (S, W) of texts that lie end to end, averaged over each: (B, W)."""
    if len(lengths) == 1:
        return flat.mean(0, keepdim=True)
    return torch.segment_reduce(flat, "mean", lengths=lengths)


def _padded(flat: torch.Tensor, mask: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    """Rows of real tokens (S, W) in their places, zeros elsewhere: (B, T, W)."""
    if where is not None:
        flat = flat.new_zeros(mask.numel(), flat.shape[1]).index_copy_(0, where, flat)
    return flat.view(*mask.shape, flat.shape[1])


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
