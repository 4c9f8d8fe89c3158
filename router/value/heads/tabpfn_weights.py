"""TabPFN's weights from a local file, frozen, their licence accepted first where it asks for that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from router.value.heads.tabpfn_licences import RELEASES, Release, where

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class TabpfnError(ValueError):
    """TabPFN cannot be used as asked: no weights, a licence not accepted, too many columns."""


@dataclass(frozen=True)
class TabpfnWeights:
    """A frozen TabPFN, shared by every context, and the release that its architecture belongs to."""

    specs: Any  # tabpfn.ModelSpecs
    release: Release
    most_columns: int
    device: str

    @classmethod
    def load(cls, path: Path, device: str = "cpu", accepted: str | None = None) -> TabpfnWeights:
        """
        Read weights in the tabpfn package's own format (.ckpt or .safetensors). Nothing is downloaded.

        `accepted` names the licence that was accepted, for the releases that ask for it. Raises `TabpfnError` where
        the file is absent or no such file, and where its licence was not accepted.
        """
        if not path.is_file():
            raise TabpfnError(f"there are no TabPFN weights at {path}. {where()}")
        from tabpfn import ModelSpecs, TabPFNClassifier
        from tabpfn.architectures import ARCHITECTURES

        loader = TabPFNClassifier(model_path=path, device=device, inference_precision=torch.float32)
        try:
            loader.get_inference_config()  # reads the file
        except Exception as error:  # whatever its unpickling and its shapes raise
            raise TabpfnError(f"{path} is not a TabPFN checkpoint: {error}") from error
        network, config = loader.model_, loader.configs_[0]
        architecture = next(
            name for name, module in ARCHITECTURES.items() if module.__name__ == type(config).__module__
        )
        release = RELEASES.get(architecture)
        if release is None:
            raise TabpfnError(f"{path} is of {architecture}, whose licence is not known here")
        check_licence(release, accepted, str(path))
        logger.warning("%s; weights: %s", release.terms(), path.name)
        network.requires_grad_(False)
        specs = ModelSpecs(network, config, loader.inference_config_)
        return cls(specs, release, loader.inference_config_.MAX_NUMBER_OF_FEATURES, device)


def check_licence(release: Release, accepted: str | None, named: str) -> None:
    """Raises `TabpfnError` with the terms where a release's licence must be accepted and was not."""
    if release.accept is not None and accepted != release.accept:
        raise TabpfnError(
            f"{named}: {release.terms()}. If you accept it, say so in router.yaml: "
            f"value: {{tabpfn: {{accept_licence: {release.accept}}}}}"
        )
