"""The published training state of V0 as a plain folder (`router pull v0-paper`), strictly and without unpickling code.

    adapter.safetensors   the adapter, its shape in the header
    backbone/             config, tokenizer and weights, as transformers reads them
    README.md             where it came from, with hashes and licences

The release's own loader builds the model without its adapter and loads with `strict=False`, so that its demo values
the bare last token. Here every tensor must have its place, and every place its tensor.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.paper import BACKBONE, PaperError, Tensors, compare, load_strictly, save, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CARD = "README.md"
HEADS = 3  # not to be seen in the weights; the checkpoint's `args` say it
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")  # needed
MORE_FILES = (
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)  # where there are any


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
    load_strictly(adapter, {**tensors, "static_queries": queries}, checkpoint)
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
    compare({name: t.shape for name, t in expected.items()}, tensors, f"{checkpoint}: backbone")
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )


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
