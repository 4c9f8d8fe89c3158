"""`value.tabpfn` in router.yaml: which TabPFN weights, under whose licence. Nothing here imports torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from router.value.heads.tabpfn_licences import RELEASES, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.config_schema import TabpfnSection, ValueSection
    from router.value.heads.tabpfn_licences import Release

_NAMED = re.compile(r"tabpfn-v(\d(?:\.\d)?)-")


@dataclass(frozen=True)
class TabpfnSettings:
    """TabPFN's weights, the licence that was accepted for them, and how the head uses them."""

    weights: Path
    accept_licence: str | None
    estimators: int
    labels: Literal["levels", "hard"]
    cache_bytes: int


def tabpfn_settings(section: TabpfnSection | None, folder: Path) -> TabpfnSettings:
    """A section without problems as settings; its path is relative to `folder`."""
    assert section is not None
    assert section.weights is not None
    return TabpfnSettings(
        folder / Path(section.weights).expanduser(),
        section.accept_licence,
        section.estimators,
        section.labels,
        int(section.cache_gb * 2**30),
    )


def tabpfn_problems(value: ValueSection, folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong where the head is to be TabPFN: (place below `value`, message)."""
    if value.weights is not None:
        adapter = folder / Path(value.weights).expanduser()
        if adapter.exists() and not (adapter / "adapter.safetensors").is_file():
            yield (
                ("weights",),
                f"value.weights: {adapter} holds no adapter.safetensors, which the head tabpfn reads; `router pull "
                "v0-paper` makes such a folder, and without value.weights it reads the backbone's embedding",
            )
    section = value.tabpfn
    if section is None or section.weights is None:
        yield ("head",), f"value.head is tabpfn, and value.tabpfn.weights is missing. {where()}"
        return
    path = folder / Path(section.weights).expanduser()
    if not path.is_file():
        yield ("tabpfn", "weights"), f"value.tabpfn.weights: there is no file {path}. {where()}"
    release = named_release(path.name)
    if release and release.accept and section.accept_licence != release.accept:
        yield (
            ("tabpfn", "weights"),
            f"value.tabpfn: {release.terms()}. If you accept it, add accept_licence: {release.accept}",
        )


def named_release(file: str) -> Release | None:
    """The release that a file of Prior Labs is of, by its name; None for another name: the file itself tells."""
    found = _NAMED.match(file)
    return RELEASES.get("tabpfn_v" + found[1].replace(".", "_")) if found else None


def tabpfn_terms(settings: TabpfnSettings) -> str:
    """What `router check` says about the head's licence."""
    release = named_release(settings.weights.name)
    if release is None:
        return (
            f"head: TabPFN from {settings.weights.name}; its architecture tells its licence when it is loaded"
        )
    accepted = "; you accepted it" if release.accept else ""
    return f"head: {release.terms()}{accepted}"
