"""`router-bench fetch NAME`: a public dataset from its hub, its licence shown and every file checked against the
checksum that the hub itself announces for the revision."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import tarfile
import zipfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.cache import cache_root
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

NANO = "nano"  # in the package
GENERATED = "generated"  # SIMULATED; made on this machine when it is asked for
RECORD = "SOURCE.json"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Source:
    """A dataset on a public hub. `patterns` pick the files that are read; `revision` is a commit or a branch."""

    name: str
    what: str
    host: Literal["huggingface", "github"]
    repository: str
    revision: str
    patterns: tuple[str, ...]
    note: str = ""

    @property
    def page(self) -> str:
        """Where a person finds it."""
        return f"https://{'huggingface.co/datasets' if self.host == 'huggingface' else 'github.com'}/{self.repository}"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a revision; `checksum` is the sha256, or the git blob id where the hub has no other."""

    path: str
    url: str
    size: int
    kind: Literal["sha256", "git"]
    checksum: str


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source("routerbench", "11 models, 36,497 prompts, recorded costs", "huggingface", "withmartian/routerbench",
               "main", ("routerbench_0shot.pkl",)),
        Source("embedllm", "112 open models, about 36,000 questions, no costs", "huggingface", "RZ412/EmbedLLM",
               "main", ("train.csv", "val.csv", "test.csv")),
        Source("llmrouterbench", "33 models, 21 datasets, recorded costs", "huggingface", "NPULH/LLMRouterBench",
               "main", ("bench-release.tar.gz",)),
        Source("routerarena", "cached answers of some models to 8,400 queries, recorded costs", "github",
               "RouteWorks/RouterArena", "main", ("cached_results/*.jsonl", "model_cost/model_cost.json"),
               "its terms forbid training on it what is then submitted to it"),
        Source("sprout", "13 models, about 44,000 prompts, tokens recorded; prices are yours to add", "huggingface",
               "CARROT-LLM-Routing/SPROUT", "main", ("data/*.parquet",)),
        Source("routellm", "a strong and a weak model on MMLU and GSM8K", "github", "lm-sys/RouteLLM",
               "0b64fdafe049e596a3f5657c219329f24af24198",
               ("routellm/evals/mmlu/responses/*.csv", "routellm/evals/gsm8k/gsm8k_responses.csv")),
        Source("routereval", "pools of 3 to 1,000 models on 12 datasets, no costs", "huggingface", "linggm/RouterEval",
               "main", ("router_dataset.zip",)),
        Source("v0", "V0's own sample: checkpoints of two policies on DAPO-Math", "github", "Now-Join-Us/V0",
               "2c09c7ce1bb0df2d10d1453dabf614ec3a72377c", ("data/*.jsonl", "data/prompt_dict.json")),
    )
}  # fmt: skip


def folder_of(name: str) -> Path:
    """Where a dataset of this name is kept."""
    if name == NANO:
        return Path(str(files("benchmarks") / "data" / NANO))
    return cache_root() / "datasets" / name


def local_folder(name: str) -> Path:
    """
    The folder of a dataset that is here already: in the package, fetched, or, the generated one, made now.

    Raises `OutcomesError`, which says how to get it.
    """
    folder = folder_of(name)
    if name == NANO:
        return folder
    if name == GENERATED:
        if not (folder / "prompts.parquet").is_file():
            from benchmarks.datasets.generated import generate

            generate(folder)
        return folder
    if name not in SOURCES:
        known = ", ".join((NANO, GENERATED, *SOURCES))
        raise OutcomesError(f"{name!r} is neither a path nor a dataset (datasets: {known})")
    if not (folder / RECORD).is_file():
        raise OutcomesError(f"dataset {name!r} is not here yet: router-bench fetch {name}")
    return folder


def fetch(
    name: str, out: Path | None = None, client: httpx.Client | None = None, say: Callable[[str], None] = print
) -> Path:
    """
    Download a dataset, checked, into `out` (default: the cache) and return the folder.

    Files that are there with the right checksum are kept. Raises `OutcomesError`: for an unknown name, a hub that
    cannot be reached (with what to do instead), and a file that is not what its checksum says.
    """
    import httpx

    if name == NANO:
        raise OutcomesError("'nano' is in the package: --data nano")
    if name == GENERATED:
        raise OutcomesError("'generated' is made here, not downloaded: router-bench generate")
    if name not in SOURCES:
        raise OutcomesError(f"{name!r} is not a dataset to fetch (there are: {', '.join(SOURCES)})")
    source, folder = SOURCES[name], out or folder_of(name)
    own = client or httpx.Client(timeout=TIMEOUT_S, follow_redirects=True)
    try:
        revision, licence, files = _listing(source, own)
        say(f"{name}: {source.what}\n  {source.page} at {revision}\n  licence: {licence}")
        if source.note:
            say(f"  note: {source.note}")
        for file in files:
            _download(file, folder / file.path, own, say)
    except OutcomesError:
        raise
    except (httpx.HTTPError, OSError, LookupError, ValueError) as error:  # the last two: an unexpected answer
        raise OutcomesError(_offline(source, error)) from error
    finally:
        if client is None:
            own.close()
    for file in files:
        _unpack(folder / file.path, folder)
    record = {
        "name": name,
        "page": source.page,
        "revision": revision,
        "licence": licence,
        "files": {file.path: f"{file.kind}:{file.checksum}" for file in files},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    say(f"  in {folder}; use it as --data {name if out is None else folder}")
    return folder


def _offline(source: Source, error: Exception) -> str:
    return (
        f"{source.page} cannot be read ({type(error).__name__}: {error}).\n"
        f"On a machine that can, download {', '.join(source.patterns)} from it, unpack what is packed, copy the folder "
        f"here and pass it as --data FOLDER.\nThe set that needs no connection: --data {NANO}"
    )


def _listing(source: Source, client: httpx.Client) -> tuple[str, str, list[RemoteFile]]:
    """(commit, licence, files) as the hub announces them."""
    commit, licence, files = (_on_huggingface if source.host == "huggingface" else _on_github)(source, client)
    wanted = [file for file in files if any(fnmatch.fnmatch(file.path, p) for p in source.patterns)]
    if not wanted:
        raise OutcomesError(f"{source.page} at {commit} has no {' or '.join(source.patterns)}")
    return commit, licence, wanted


def _on_huggingface(source: Source, client: httpx.Client) -> tuple[str, str, list[RemoteFile]]:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    listing = _json(
        client, f"{endpoint}/api/datasets/{source.repository}/revision/{source.revision}?blobs=true"
    )
    commit = str(listing["sha"])
    licence = (listing.get("cardData") or {}).get("license") or "not stated on its card"
    files = []
    for entry in listing["siblings"]:
        large = entry.get("lfs") or {}
        files.append(
            RemoteFile(
                entry["rfilename"],
                f"{endpoint}/datasets/{source.repository}/resolve/{commit}/{entry['rfilename']}",
                int(large.get("size") or entry.get("size") or 0),
                "sha256" if large else "git",
                str(large["sha256"] if large else entry["blobId"]),
            )
        )
    return commit, ", ".join(licence) if isinstance(licence, list) else str(licence), files


def _on_github(source: Source, client: httpx.Client) -> tuple[str, str, list[RemoteFile]]:
    api = f"https://api.github.com/repos/{source.repository}"
    commit = str(_json(client, f"{api}/commits/{source.revision}")["sha"])
    tree = _json(client, f"{api}/git/trees/{commit}?recursive=1")["tree"]
    licence = (_json(client, api).get("license") or {}).get("spdx_id") or "not stated"
    raw = f"https://raw.githubusercontent.com/{source.repository}/{commit}"
    files = [
        RemoteFile(entry["path"], f"{raw}/{entry['path']}", int(entry.get("size", 0)), "git", entry["sha"])
        for entry in tree
        if entry["type"] == "blob"
    ]
    return commit, str(licence), files


def _json(client: httpx.Client, url: str) -> dict[str, Any]:
    reply = client.get(url)
    reply.raise_for_status()
    document: dict[str, Any] = reply.json()
    return document


def _download(file: RemoteFile, target: Path, client: httpx.Client, say: Callable[[str], None]) -> None:
    if target.is_file() and _checksum(target, file.kind) == file.checksum:
        say(f"  {file.path}: here already, {file.kind} {file.checksum}")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".unfinished")
    with client.stream("GET", file.url) as reply:
        reply.raise_for_status()
        with unfinished.open("wb") as opened:
            for chunk in reply.iter_bytes():
                opened.write(chunk)
    found = _checksum(unfinished, file.kind)
    if found != file.checksum:
        unfinished.unlink()
        raise OutcomesError(
            f"{file.url} has {file.kind} {found}, its hub announces {file.checksum}: not kept"
        )
    unfinished.replace(target)
    say(f"  {file.path}: {target.stat().st_size:,} bytes, {file.kind} {file.checksum}")


def _checksum(path: Path, kind: Literal["sha256", "git"]) -> str:
    with path.open("rb") as file:
        if kind == "sha256":
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        while chunk := file.read(2**20):
            digest.update(chunk)
        return digest.hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive into the folder; a member that would land outside it is refused."""
    try:
        if path.name.endswith((".tar.gz", ".tgz", ".tar")):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive_zip:
                archive_zip.extractall(folder)  # noqa: S202 - zipfile keeps members inside by itself
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise OutcomesError(f"cannot be unpacked: {error}", path) from error
