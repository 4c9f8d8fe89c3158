"""router pull, against a hub on this machine that serves files of the published layout."""

from __future__ import annotations

import hashlib
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from typer.testing import CliRunner

from router import pull as pulling
from router.cli import app
from router.value.heads.tabpfn_weights import TabpfnWeights
from router.value.paper import AdapterFolder
from tests.router.value.test_paper import backbone, published  # noqa: F401 (a fixture)
from tests.router.value.tiny_tabpfn import ASSET


@contextmanager
def hub(files):
    """Serve {path: Path} as a model hub does: hashes and the commit in the headers."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            owner, name, kind, _, file = self.path.strip("/").split("/", 4)
            path = files.get(f"{owner}/{name}/{file}") if kind == "resolve" else None
            if path is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.end_headers()
            if body:
                asked.append(f"{owner}/{name}/{file}")
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture
def shelf(tmp_path, backbone):  # noqa: F811 (the fixture)
    """Both repositories as the hub has them."""
    torch.save(published(backbone), tmp_path / pulling.V0_FILE)
    files = {f"{pulling.QWEN_REPOSITORY}/{path.name}": path for path in backbone.iterdir()}
    return {f"{pulling.V0_REPOSITORY}/{pulling.V0_FILE}": tmp_path / pulling.V0_FILE, **files}


def test_v0_paper_is_fetched_and_opens(tmp_path, shelf):
    with hub(shelf) as (endpoint, asked):
        folder = pulling.pull_paper(tmp_path / "models" / "v0-paper", endpoint=endpoint)
    assert AdapterFolder.load(folder).dim == 1008
    assert sorted(asked) == sorted(
        [
            f"{pulling.V0_REPOSITORY}/{pulling.V0_FILE}",
            *(f"{pulling.QWEN_REPOSITORY}/{file}" for file in pulling.NEEDED),
        ]
    )  # the backbone's gigabytes come once, in the checkpoint
    assert [path.name for path in folder.parent.iterdir()] == ["v0-paper"]
    assert pulling.V0_REPOSITORY in (folder / "README.md").read_text()


def test_the_hubs_backbone_is_fetched_where_the_checkpoint_has_none(tmp_path, shelf, backbone):  # noqa: F811
    torch.save(published(backbone, with_backbone=False), tmp_path / pulling.V0_FILE)
    with hub(shelf) as (endpoint, asked):
        folder = pulling.pull_paper(tmp_path / "v0-paper", endpoint=endpoint)
    assert f"{pulling.QWEN_REPOSITORY}/{pulling.WEIGHTS}" in asked
    assert AdapterFolder.load(folder).dim == 1008


def test_what_the_hub_does_not_have_is_told_with_the_way_around(tmp_path, shelf):
    del shelf[f"{pulling.QWEN_REPOSITORY}/tokenizer.json"]
    with (
        hub(shelf) as (endpoint, _),
        pytest.raises(pulling.PullError, match=r"tokenizer\.json could not be fetched.*--checkpoint FILE"),
    ):
        pulling.pull_paper(tmp_path / "v0-paper", endpoint=endpoint)
    assert not (tmp_path / "v0-paper").exists()


def test_the_command_converts_local_files_and_says_what_to_write(tmp_path, shelf, backbone):  # noqa: F811
    local = shelf[f"{pulling.V0_REPOSITORY}/{pulling.V0_FILE}"]
    arguments = ["pull", "v0-paper", "--out", str(tmp_path / "out"), "--backbone", str(backbone)]
    result = CliRunner().invoke(app, [*arguments, "--checkpoint", str(local)])
    assert result.exit_code == 0, result.output
    assert "head: tabpfn" in result.output
    assert AdapterFolder.load(tmp_path / "out" / "v0-paper").dim == 1008
    again = CliRunner().invoke(app, [*arguments, "--checkpoint", str(local)])
    assert again.exit_code == 1
    assert "exists and is not empty" in again.output
    absent = CliRunner().invoke(app, [*arguments, "--checkpoint", str(tmp_path / "absent.pt")])
    assert absent.exit_code == 1
    assert "there is no file" in absent.output


def test_tabpfn_comes_by_its_own_package_and_shows_its_licence(tmp_path, monkeypatch):
    monkeypatch.setattr("tabpfn.model_loading.download_model", _copy)
    result = CliRunner().invoke(app, ["pull", "tabpfn-v2", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "Apache 2.0 with attribution" in result.output
    (file,) = tmp_path.iterdir()
    assert TabpfnWeights.load(file).release.name == "TabPFN v2"


def test_a_non_commercial_tabpfn_is_not_fetched_unaccepted(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "tabpfn.model_loading.download_model", lambda path, **about: asked.append(about) or _copy(path)
    )
    refused = CliRunner().invoke(app, ["pull", "tabpfn-v2.5", "--out", str(tmp_path)])
    assert (refused.exit_code, asked) == (1, [])
    assert "NON-COMMERCIAL" in refused.output
    taken = CliRunner().invoke(app, ["pull", "tabpfn-v2.5", "--accept-licence", "--out", str(tmp_path)])
    assert taken.exit_code == 0, taken.output
    assert "accept_licence: tabpfn-v2.5-non-commercial" in taken.output
    assert asked[0]["version"].value == "v2.5"


def test_a_failed_download_of_tabpfn_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tabpfn.model_loading.download_model", lambda *_, **__: [RuntimeError("no route to the hub")]
    )
    result = CliRunner().invoke(app, ["pull", "tabpfn-v2", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "no route to the hub" in result.output


def _copy(path, **_):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ASSET, path)
    return "ok"
