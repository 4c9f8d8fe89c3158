"""`router pull`: weights that are not ours to ship, from where their authors put them, into a plain folder."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.value.heads.tabpfn_licences import RELEASES

if TYPE_CHECKING:
    from router.value.heads.tabpfn_licences import Release

V0_REPOSITORY, V0_FILE = "Now-Join-Us/Generalist-Value-Model-V0", "v_0_for_grpo_training.pt"
QWEN_REPOSITORY = "Qwen/Qwen3-Embedding-0.6B"
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json")
WEIGHTS = "model.safetensors"


class What(StrEnum):
    """What can be pulled."""

    V0_PAPER = "v0-paper"
    TABPFN_V2 = "tabpfn-v2"
    TABPFN_V2_5 = "tabpfn-v2.5"
    TABPFN_V2_6 = "tabpfn-v2.6"
    TABPFN_V3 = "tabpfn-v3"
    TABPFN_V3_5 = "tabpfn-v3.5"


class PullError(Exception):
    """Something could not be fetched, or may not be without a licence accepted."""


def pull(
    what: Annotated[What, typer.Argument(help="V0 as published with its paper, or a release of TabPFN.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that takes it.")] = Path("models"),
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="v0-paper: the published .pt, where it is here already."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="v0-paper: a folder with Qwen3-Embedding-0.6B.")
    ] = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="TabPFN from v2.5 on: you accept its non-commercial licence."),
    ] = False,
) -> None:
    """
    Fetch weights that are not in the package: V0's published checkpoint, TabPFN.

    Nothing is fetched whose licence asks for more than attribution, unless you accept it.
    """
    from router.value.paper import PaperError

    try:
        if what is What.V0_PAPER:
            folder = pull_paper(out / what, checkpoint, backbone)
            typer.echo(
                f"{folder} is V0 as published. Its head is TabPFN v2.5: router pull tabpfn-v2.5 --accept-licence\n"
                f"value: {{head: tabpfn, weights: {folder}, tabpfn: {{weights: …, accept_licence: …}}}}"
            )
        else:
            release = RELEASES[what.replace("-", "_").replace(".", "_")]
            typer.echo(release.terms())
            file = pull_tabpfn(what, release, out, accept_licence)
            accepted = f", accept_licence: {release.accept}" if release.accept else ""
            typer.echo(f"value: {{head: tabpfn, tabpfn: {{weights: {file}{accepted}}}}}")
    except (PullError, PaperError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def pull_paper(
    out: Path, checkpoint: Path | None = None, backbone: Path | None = None, endpoint: str | None = None
) -> Path:
    """
    V0's checkpoint and its backbone's config and tokenizer as a folder for `AdapterFolder.load`.

    What is given is not fetched. An interrupted download goes on where it was. `endpoint` is another hub's address.
    Raises `PullError` or `PaperError`.
    """
    from router.value.paper_checkpoint import convert, holds_backbone

    source = f"{checkpoint}"
    staging = out.with_name(out.name + ".download")
    if checkpoint is None:
        source = f"huggingface.co/{V0_REPOSITORY}"
        checkpoint = _fetch(V0_REPOSITORY, V0_FILE, staging, endpoint)
    elif not checkpoint.is_file():
        raise PullError(f"there is no file {checkpoint}")
    if backbone is None:
        files = NEEDED if holds_backbone(checkpoint) else (*NEEDED, WEIGHTS)
        for file in files:
            backbone = _fetch(QWEN_REPOSITORY, file, staging / "backbone", endpoint).parent
        assert backbone is not None
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = convert(checkpoint, backbone, out, source)
    shutil.rmtree(staging, ignore_errors=True)
    return folder


def pull_tabpfn(version: str, release: Release, out: Path, accepted: bool) -> Path:
    """TabPFN's default classifier of a release, by the tabpfn package's own download. Raises `PullError`."""
    if release.accept is not None and not accepted:
        raise PullError(f"{release.terms()}; --accept-licence says that you accept it")
    from tabpfn.constants import ModelVersion
    from tabpfn.model_loading import download_model

    path = out / release.file
    result = download_model(
        path,
        version=ModelVersion(version.removeprefix("tabpfn-")),
        which="classifier",
        model_name=release.file,
    )
    if result != "ok" or not path.is_file():
        told = "; ".join(str(error) for error in result) if result != "ok" else "it is not there"
        raise PullError(f"{release.file} could not be fetched from {release.page}: {told}")
    return path


def _fetch(repository: str, file: str, folder: Path, endpoint: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(repository, file, local_dir=folder, endpoint=endpoint))
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PullError(
            f"{file} could not be fetched from {repository}: {reason}. Where no hub can be reached, fetch "
            f"{V0_FILE} of {V0_REPOSITORY} and the files of {QWEN_REPOSITORY} elsewhere and name them: "
            "--checkpoint FILE --backbone FOLDER"
        ) from error
