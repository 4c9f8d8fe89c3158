"""A Llama in pure torch: RMSNorm, rotary positions, grouped queries, SwiGLU, tied embeddings.

The same arithmetic as transformers' LlamaForCausalLM, written to be fast at widths of 32 to 256, where a kernel's
launch costs more than its work: query, key and value are one matrix, gate and up are one matrix. The folder on disk
(config.json, model.safetensors) is Hugging Face's; `load` and `save` split and join the matrices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class NetworkError(ValueError):
    """A folder holds no Llama that this engine can run; the message names the file and the reason."""


@dataclass(frozen=True)
class Shape:
    """What decides a network's tensors."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int  # of the feed-forward part
    window: int  # positions
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def parameters(self) -> int:
        """How many numbers are learnt; the embedding, which is also the output, counts once."""
        kv = self.kv_heads * self.head_width
        attention = 2 * self.width * self.width + 2 * self.width * kv
        block = attention + 3 * self.width * self.hidden + 2 * self.width
        return self.vocabulary * self.width + self.layers * block + self.width


class Cache:
    """
    Keys and values of running sequences: one row each, in every layer.

    Rows 0 to n-1 are in use; `move` keeps them together when a sequence leaves.
    """

    def __init__(self, shape: Shape, rows: int, device: torch.device, dtype: torch.dtype) -> None:
        size = (shape.layers, rows, shape.kv_heads, shape.window, shape.head_width)
        self.keys = torch.zeros(size, device=device, dtype=dtype)  # (L,R,K,P,D)
        self.values = torch.zeros(size, device=device, dtype=dtype)

    def move(self, source: int, target: int, length: int) -> None:
        """Let the sequence of row `source`, `length` positions long, go on in row `target`."""
        for store in (self.keys, self.values):
            store[:, target, :, :length] = store[:, source, :, :length]

    def repeat(self, first: int, of: Tensor, length: int) -> None:
        """Copy rows, `length` positions long: row first + n becomes what row first + of[n] (N) was before."""
        for store in (self.keys, self.values):
            store[:, first : first + len(of), :, :length] = store[:, first + of, :, :length]


class RMSNorm(nn.Module):
    """x / rms(x), scaled."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…,E) -> (…,E)."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.kv_heads, shape.head_width
        both = (shape.heads + 2 * shape.kv_heads) * shape.head_width
        self.attention_norm = RMSNorm(shape.width, shape.epsilon)
        self.qkv = nn.Linear(shape.width, both, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.feed_norm = RMSNorm(shape.width, shape.epsilon)
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,T,E) -> queries (B,H,T,D), keys and values (B,K,T,D); positions turned in."""
        b, t, _ = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(b, t, -1, self.head_width)
        turning = self.heads + self.kv_heads
        one, two = qkv[:, :, :turning].chunk(2, dim=-1)
        turned = torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)
        queries, keys = turned.transpose(1, 2).split((self.heads, self.kv_heads), dim=1)
        return queries, keys, qkv[:, :, turning:].transpose(1, 2)

    def mix(self, x: Tensor, attended: Tensor) -> Tensor:
        """(B,T,E) and attention's (B,H,T,D) -> (B,T,E): the rest of the block."""
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        gate, up = self.gate_up(self.feed_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    """Token ids -> hidden states -> logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.epsilon)
        half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.arange(shape.window, dtype=torch.float32)[:, None] / shape.theta**half  # (P,D/2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """
        Hidden states (B,T,E) of whole sequences (B,T), each position seeing those before it.

        Sequences are padded on the right, so no position of a sequence sees padding.
        """
        x = self.embedding(ids)
        cos, sin = self._angles(torch.arange(ids.shape[1], device=ids.device))
        for block in self.ordered:
            queries, keys, values = block.project(x, cos, sin)
            x = block.mix(x, _attend(queries, keys, values, causal=True))
        return self.norm(x)

    def prefill(self, ids: Tensor, cache: Cache, first: int) -> Tensor:
        """As `forward`, leaving keys and values in the cache's rows from `first` on."""
        x = self.embedding(ids)
        rows, t = slice(first, first + ids.shape[0]), ids.shape[1]
        cos, sin = self._angles(torch.arange(t, device=ids.device))
        for layer, block in enumerate(self.ordered):
            queries, keys, values = block.project(x, cos, sin)
            cache.keys[layer, rows, :, :t] = keys
            cache.values[layer, rows, :, :t] = values
            x = block.mix(x, _attend(queries, keys, values, causal=True))
        return self.norm(x)

    def step(self, ids: Tensor, positions: Tensor, cache: Cache, longest: int) -> Tensor:
        """
        Hidden states (B,E) of one more token (B) in each of the cache's first B rows, at its position (B).

        `longest` is the greatest position plus one, known to the caller without asking the device.
        """
        b = ids.shape[0]
        x = self.embedding(ids)[:, None]
        cos, sin = (table[:, None] for table in self._angles(positions))  # (B,1,1,D/2)
        rows = torch.arange(b, device=ids.device)
        seen = (torch.arange(longest, device=ids.device) <= positions[:, None])[:, None, None]  # (B,1,1,P)
        for layer, block in enumerate(self.ordered):
            queries, keys, values = block.project(x, cos, sin)
            cache.keys[layer, rows, :, positions] = keys[:, :, 0]
            cache.values[layer, rows, :, positions] = values[:, :, 0]
            known = cache.keys[layer, :b, :, :longest], cache.values[layer, :b, :, :longest]
            x = block.mix(x, _attend(queries, *known, mask=seen))
        return self.norm(x[:, 0])

    def logits(self, hidden: Tensor) -> Tensor:
        """(…,E) -> (…,V)."""
        return F.linear(hidden, self.embedding.weight)

    @property
    def ordered(self) -> Iterable[Block]:
        """The blocks, first to last."""
        return cast("Iterable[Block]", self.blocks)

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.get_buffer("cos"), self.get_buffer("sin")
        return cos[positions][:, None], sin[positions][:, None]


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    shared = queries.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=shared
    )


# The folder


def hf_config(shape: Shape, specials: Mapping[str, int]) -> dict[str, Any]:
    """config.json of a network; `specials` are the ids of bos, eos and pad."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": shape.window,
        "rope_theta": shape.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.theta},
        "rms_norm_eps": shape.epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": "float16",
        "bos_token_id": specials["bos"],
        "eos_token_id": specials["eos"],
        "pad_token_id": specials["pad"],
    }


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json describes. Raises NetworkError for what this engine does not do."""
    unsupported = {
        "model_type": config.get("model_type") != "llama",
        "tie_word_embeddings": not config.get("tie_word_embeddings"),
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
    }
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    unsupported["rope_type"] = rope.get("rope_type", "default") != "default"
    try:
        shape = Shape(
            vocabulary=config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            hidden=config["intermediate_size"],
            window=config["max_position_embeddings"],
            theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            epsilon=config.get("rms_norm_eps", 1e-6),
        )
    except KeyError as error:
        raise NetworkError(f"{CONFIG} has no {error.args[0]}") from error
    unsupported["head_dim"] = (config.get("head_dim") or shape.head_width) * shape.heads != shape.width
    wrong = [name for name, is_wrong in unsupported.items() if is_wrong]
    if wrong:
        raise NetworkError(f"{CONFIG}: this engine does not run its {', '.join(wrong)}")
    return shape


def load(folder: Path, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Llama:
    """The network in a folder, ready to generate. Raises NetworkError."""
    try:
        network = Llama(shape_of(json.loads((folder / CONFIG).read_text(encoding="utf-8"))))
        state = _joined(load_file(folder / WEIGHTS), network.shape)
        network.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise NetworkError(f"{folder}: {error}") from error
    return network.to(device=device or torch.device("cpu"), dtype=dtype).eval().requires_grad_(False)


def save(network: Llama, folder: Path, specials: Mapping[str, int]) -> None:
    """Write config.json and the weights, as float16, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = hf_config(network.shape, specials)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {name: t.detach().to("cpu", torch.float16).contiguous() for name, t in _split(network).items()}
    part = folder / f"{WEIGHTS}.part"
    save_file(state, part, metadata={"format": "pt"})
    part.replace(folder / WEIGHTS)


_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "out.weight": "self_attn.o_proj.weight",
    "feed_norm.weight": "post_attention_layernorm.weight",
    "down.weight": "mlp.down_proj.weight",
}
_ENDS = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
_QKV = tuple(f"self_attn.{part}_proj.weight" for part in "qkv")
_GATE_UP = tuple(f"mlp.{part}_proj.weight" for part in ("gate", "up"))


def _split(network: Llama) -> dict[str, Tensor]:
    """Our tensors under Hugging Face's names."""
    ours, shape = network.state_dict(), network.shape
    theirs = {their: ours[our] for our, their in _ENDS.items()}
    kv = shape.kv_heads * shape.head_width
    for layer in range(shape.layers):
        our, their = f"blocks.{layer}.", f"model.layers.{layer}."
        theirs |= {their + name: ours[our + key] for key, name in _BLOCK.items()}
        for names, parts in (
            (_QKV, ours[f"{our}qkv.weight"].split((shape.width, kv, kv))),
            (_GATE_UP, ours[f"{our}gate_up.weight"].split(shape.hidden)),
        ):
            theirs |= {their + name: part for name, part in zip(names, parts, strict=True)}
    return theirs


def _joined(theirs: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """Hugging Face's tensors under our names."""
    ours = {our: theirs[their] for our, their in _ENDS.items()}
    for layer in range(shape.layers):
        our, their = f"blocks.{layer}.", f"model.layers.{layer}."
        ours |= {our + key: theirs[their + name] for key, name in _BLOCK.items()}
        ours[f"{our}qkv.weight"] = torch.cat([theirs[their + name] for name in _QKV])
        ours[f"{our}gate_up.weight"] = torch.cat([theirs[their + name] for name in _GATE_UP])
    return ours
