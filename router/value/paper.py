"""The paper's own V0 (arXiv 2602.03584): Qwen3-Embedding, the Residual Query Adapter over its tokens, TabPFN on top.

The published checkpoint is a training state: the weights of backbone and adapter beside an optimiser's. `convert`
reads it strictly, without unpickling code, into a plain folder that `AdapterFolder.load` opens:

    adapter.safetensors   the adapter, its shape in the header
    backbone/             config, tokenizer and weights, as transformers reads them
    README.md             where it came from, with hashes and licences

The release's own loader builds the model without its adapter and loads with `strict=False`, so that its demo values
the bare last token; and the TabPFN it pins reads 1,009 columns, where a current one would show each estimator 500.
What is reproduced here is the pass that the training script describes: left padding, at most 2,048 tokens, no
instruction, no normalisation; the generator reads the last token, keys and values are all tokens.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.backbone import Backbone, BackboneError, TokenStates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

FORMAT = "v0-adapter/1"
ADAPTER, BACKBONE, CARD = "adapter.safetensors", "backbone", "README.md"
MAX_TOKENS = 2048
MAX_CHARACTERS = 65_536  # more than 2,048 tokens of any prose; keeps the tokenizer's time bounded
HEADS = 3  # not to be seen in the weights; the checkpoint's `args` say it
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")  # needed
MORE_FILES = (
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)  # where there are any

Tensors = dict[str, torch.Tensor]


class PaperError(ValueError):
    """A file is not V0's published checkpoint, or does not fit the backbone."""


class QwenBackbone:
    """Qwen3-Embedding as the paper reads it. `version` names its weights."""

    def __init__(self, model: Any, tokenizer: Any, version: str, device: str) -> None:
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._device = device
        self.version = version
        self.width = int(model.config.hidden_size)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> QwenBackbone:
        """Read a folder as transformers writes it, in float32. Raises `PaperError`."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise PaperError(f"{folder} holds no .safetensors weights")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except (OSError, ValueError) as error:
            raise PaperError(f"{folder} is not a backbone: {error}") from error
        version = hashlib.sha256("".join(map(sha256, weights)).encode()).hexdigest()[:12]
        return cls(model, tokenizer, version, device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TokenStates:
        """Last hidden states of a batch, padded on the left."""
        inputs = self._tokenizer(
            [text[:MAX_CHARACTERS] for text in texts],
            max_length=MAX_TOKENS,
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        ids, mask = inputs["input_ids"].long().to(self._device), inputs["attention_mask"].to(self._device)
        if not ids.shape[1]:  # nothing but texts without a token
            ids = torch.full((len(texts), 1), self._tokenizer.pad_token_id or 0, device=self._device)
            mask = torch.ones_like(ids)
        mask[:, -1] = 1  # padded on the left, the last is real; a text without a token is one padding token
        states = self._model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return TokenStates(states.float(), mask.bool())


class AdapterFolder:
    """
    Texts to the adapter's features (B, K·W): a backbone with an adapter that was trained under TabPFN.

    Two kinds of backbone: the paper's, beside the adapter in its folder; or one of ours by name, whose mean-pooled
    state the generator reads.
    """

    def __init__(self, backbone: QwenBackbone | Backbone, adapter: ResidualQueryAdapter, device: str) -> None:
        self._backbone = backbone
        self._adapter = adapter.to(device).eval()
        self.dim = adapter.config.output_width
        self.version = f"{backbone.version}-{digest(adapter.state_dict())}"

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> AdapterFolder:
        """Open what `convert` or `save` wrote. Raises `PaperError` or `BackboneError`."""
        header, tensors = _read(folder / ADAPTER)
        adapter = ResidualQueryAdapter(AdapterConfig(**header["adapter"]))
        _load_strictly(adapter, tensors, folder / ADAPTER)
        if header["backbone"] == BACKBONE:
            return cls(QwenBackbone.load(folder / BACKBONE, device), adapter, device)
        backbone = Backbone.load(header["backbone"], device)
        if backbone.version != header["backbone_version"]:
            raise BackboneError(
                f"{folder}: trained on {header['backbone']} {header['backbone_version']}, this is {backbone.version}"
            )
        return cls(backbone, adapter, device)

    def encode(self, texts: Sequence[str]) -> TokenStates:
        """The backbone alone."""
        return self._backbone.encode(texts)

    @torch.inference_mode()
    def adapt(self, encoded: TokenStates, texts: Sequence[str]) -> NDArray[np.float32]:
        """The adapter alone: (B, K·W)."""
        del texts
        return self.features(encoded).float().cpu().numpy()

    def features(self, encoded: TokenStates) -> torch.Tensor:
        """The same with its gradient."""
        summary = (
            last_token(encoded.states, encoded.mask)
            if isinstance(self._backbone, QwenBackbone)
            else encoded.pooled()
        )
        return self._adapter(encoded.states, encoded.mask, summary)


def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The state of the last real token, padded on whichever side: (B, T, H) and (B, T) to (B, H)."""
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    return states[torch.arange(len(states), device=states.device), last]


def save(folder: Path, adapter: ResidualQueryAdapter, backbone: str = BACKBONE, version: str = "") -> None:
    """Write an adapter with the name and version of the backbone that it reads; the folder's own by default."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "format": FORMAT,
        "adapter": asdict(adapter.config),
        "backbone": backbone,
        "backbone_version": version,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
    save_file(tensors, folder / ADAPTER, metadata={"v0": json.dumps(header, sort_keys=True)})


def convert(checkpoint: Path, backbone: Path, out: Path, source: str = "a local file") -> Path:
    """
    Turn the published checkpoint into a folder, with the config and tokenizer of its backbone.

    Every tensor of the checkpoint must have its place, and every place its tensor; the backbone's weights come from
    the checkpoint, or from `backbone` where the checkpoint holds none. Raises `PaperError`.
    """
    if out.exists() and any(out.iterdir()):
        raise PaperError(f"{out} exists and is not empty")
    state, args = _training_state(checkpoint)
    parts: dict[str, Tensors] = {"adapter_layer": {}, BACKBONE: {}}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise PaperError(f"{checkpoint}: {name} belongs neither to the backbone nor to the adapter")
        parts[part][rest] = tensor
    adapter = _adapter(parts["adapter_layer"], args, checkpoint)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save(partial, adapter)
        _write_backbone(parts[BACKBONE], backbone, partial / BACKBONE, adapter.config.input_width, checkpoint)
        (partial / CARD).write_text(
            _card(checkpoint, source, adapter, bool(parts[BACKBONE])), encoding="utf-8"
        )
        if out.exists():
            out.rmdir()
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def holds_backbone(checkpoint: Path) -> bool:
    """Whether a checkpoint carries the backbone's weights too. Raises `PaperError`."""
    return any(name.startswith(f"{BACKBONE}.") for name in _training_state(checkpoint)[0])


def _training_state(checkpoint: Path) -> tuple[Tensors, Mapping[str, Any]]:
    """The model's tensors, without a `module.` before their names, and the arguments of the training."""
    try:
        whole = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        state, args = whole["model_state_dict"], whole.get("args") or {}
        if all(name.startswith("module.") for name in state):
            state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    except Exception as error:  # unpickling raises whatever it likes
        raise PaperError(f"{checkpoint} is not a training state of V0: {error}") from error
    return dict(state), args


def _adapter(tensors: Tensors, args: Mapping[str, Any], checkpoint: Path) -> ResidualQueryAdapter:
    for needed in ("static_queries", "generator.0.weight"):
        if needed not in tensors:
            raise PaperError(
                f"{checkpoint}: adapter_layer.{needed} is missing; is it a `dynamic_query` checkpoint?"
            )
    queries = tensors["static_queries"]
    queries = queries[0] if queries.dim() == 3 else queries  # (1, K, W) in the release
    generator_width, input_width = tensors["generator.0.weight"].shape
    config = AdapterConfig(
        input_width=input_width,
        queries=queries.shape[0],
        query_width=queries.shape[1],
        heads=int(args.get("num_heads") or HEADS),
        generator_width=generator_width,
        dropout=float(args.get("dynamic_query_generator_dropout_rate") or 0.0),
    )
    if config.query_width % config.heads:
        raise PaperError(
            f"{checkpoint}: {config.heads} heads do not share a query width of {config.query_width}"
        )
    pooled = args.get("reduce_method", "none") != "none"
    if pooled and config.output_width > int(args.get("target_dim") or config.output_width):
        raise PaperError(
            f"{checkpoint}: its features are pooled to {args['target_dim']}, which is not the paper's V0"
        )
    adapter = ResidualQueryAdapter(config)
    _load_strictly(adapter, {**tensors, "static_queries": queries}, checkpoint)
    return adapter


def _write_backbone(tensors: Tensors, source: Path, out: Path, width: int, checkpoint: Path) -> None:
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError) as error:
        raise PaperError(f"{source} is not a backbone: {error}") from error
    if config.model_type != "qwen3" or config.hidden_size != width:
        raise PaperError(
            f"{source} is {config.model_type} of width {config.hidden_size}, the adapter reads qwen3 of {width}"
        )
    out.mkdir(parents=True)
    for name in ("config.json", *TOKENIZER_FILES, *MORE_FILES):
        if (source / name).is_file():
            shutil.copy(source / name, out / name)
        elif name not in MORE_FILES:
            raise PaperError(f"{source} holds no {name}")
    if not tensors:
        weights = sorted(source.glob("*.safetensors"))
        if not weights:
            raise PaperError(f"neither {checkpoint} nor {source} holds the backbone's weights")
        for path in (*weights, *source.glob("*.safetensors.index.json")):
            shutil.copy(path, out / path.name)
        return
    with torch.device("meta"):
        expected = AutoModel.from_config(config).state_dict()
    _compare({name: t.shape for name, t in expected.items()}, tensors, f"{checkpoint}: backbone")
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )


def _compare(expected: Mapping[str, torch.Size], tensors: Tensors, where: str) -> None:
    wrong = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    wrong += [f"{name} is one too many" for name in tensors.keys() - expected.keys()]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if wrong:
        rest = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise PaperError(f"{where}: {'; '.join(sorted(wrong)[:5])}{rest}")


def _load_strictly(adapter: ResidualQueryAdapter, tensors: Tensors, where: Path) -> None:
    _compare({name: t.shape for name, t in adapter.state_dict().items()}, tensors, f"{where}: adapter")
    adapter.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("v0", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise PaperError(f"{path}: not a readable adapter ({error})") from error
    if header.get("format") != FORMAT:
        raise PaperError(f"{path}: format {header.get('format')!r}, this version reads {FORMAT!r}")
    return header, tensors


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Twelve digits that name weights."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def sha256(path: Path) -> str:
    """The file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card(checkpoint: Path, source: str, adapter: ResidualQueryAdapter, own_backbone: bool) -> str:
    config = adapter.config
    return f"""# V0, as published with its paper (arXiv 2602.03584)

- Adapter: {config.queries}×{config.query_width} = {config.output_width} features, {config.heads} heads.
- From {source}; {checkpoint.name} has sha256 {sha256(checkpoint)}.
- Backbone weights: {"the checkpoint's own" if own_backbone else "those beside the config and tokenizer given"}.
- Licences: code and weights of V0 are its authors' (Apache-2.0 in their repository; read the weights' page),
  Qwen3-Embedding is Apache-2.0. The head, TabPFN v2.5 in the paper, is not in this folder: its licence is Prior Labs'
  and non-commercial. TabPFN v2 reads 500 features and cannot be the head of a wider adapter.
"""
