from __future__ import annotations

import hashlib
import io
import json
import tarfile

import httpx
import pytest
from typer.testing import CliRunner

from benchmarks import fetch as fetching
from benchmarks.cli import app
from benchmarks.fetch import Source, fetch
from benchmarks.outcomes import OutcomesError, read

LARGE, SMALL = b"prompt_id,...\n" * 10, b"small"


def blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """Both hubs, with the files of one repository; `asked` are the paths that were requested."""

    def __init__(self, files, announced=None):
        self.files = files
        self.announced = announced or files
        self.asked = []

    def __call__(self, request):
        self.asked.append(request.url.path)
        path = request.url.path
        if path == "/api/datasets/org/set/revision/main":
            siblings = [
                {"rfilename": name, "size": len(content), "blobId": blob_id(content)}
                | (
                    {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}
                    if large
                    else {}
                )
                for name, content in self.announced.items()
                for large in [name.endswith(("csv", "gz"))]
            ]
            return httpx.Response(
                200, json={"sha": "c0ffee", "cardData": {"license": "mit"}, "siblings": siblings}
            )
        if path == "/repos/org/set/commits/abc":
            return httpx.Response(200, json={"sha": "abc"})
        if path == "/repos/org/set/git/trees/abc":
            tree = [
                {"path": name, "type": "blob", "size": len(content), "sha": blob_id(content)}
                for name, content in self.announced.items()
            ]
            return httpx.Response(200, json={"tree": [{"path": "data", "type": "tree", "sha": "x"}, *tree]})
        if path == "/repos/org/set":
            return httpx.Response(200, json={"license": {"spdx_id": "Apache-2.0"}})
        for prefix in ("/datasets/org/set/resolve/c0ffee/", "/org/set/abc/"):
            if path.startswith(prefix) and path.removeprefix(prefix) in self.files:
                return httpx.Response(200, content=self.files[path.removeprefix(prefix)])
        return httpx.Response(404)

    def client(self):
        return httpx.Client(transport=httpx.MockTransport(self))


@pytest.fixture
def sources(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    listed = {
        "tiny": Source(
            "tiny", "a tiny set", "huggingface", "org/set", "main", ("*.csv", "notes.md"), "a note"
        ),
        "packed": Source("packed", "a packed set", "huggingface", "org/set", "main", ("*.tar.gz",)),
        "forge": Source("forge", "on a forge", "github", "org/set", "abc", ("data/*.jsonl",)),
    }
    monkeypatch.setattr(fetching, "SOURCES", listed)


def test_a_fetched_set_is_checked_recorded_and_shown(sources):
    hub = Hub({"train.csv": LARGE, "notes.md": SMALL, "other.bin": b"not asked for"})
    lines = []
    folder = fetch("tiny", client=hub.client(), say=lines.append)
    assert (folder / "train.csv").read_bytes() == LARGE
    assert not (folder / "other.bin").exists()
    shown = "\n".join(lines)
    for part in ("licence: mit", "a note", "c0ffee", hashlib.sha256(LARGE).hexdigest(), blob_id(SMALL)):
        assert part in shown
    record = json.loads((folder / "SOURCE.json").read_text())
    assert record["files"]["train.csv"] == f"sha256:{hashlib.sha256(LARGE).hexdigest()}"
    assert fetching.local_folder("tiny") == folder
    hub.asked.clear()
    fetch("tiny", client=hub.client(), say=lines.append)
    assert hub.asked == ["/api/datasets/org/set/revision/main"]  # the files are here already


def test_a_file_that_is_not_what_the_hub_announced_is_not_kept(sources, tmp_path):
    hub = Hub({"train.csv": b"tampered"}, announced={"train.csv": LARGE})
    with pytest.raises(OutcomesError, match="its hub announces"):
        fetch("tiny", tmp_path / "out", hub.client(), say=lambda line: None)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_forge_is_checked_by_blob_ids(sources):
    folder = fetch("forge", client=Hub({"data/a.jsonl": SMALL, "b.txt": b""}).client(), say=lambda line: None)
    assert (folder / "data" / "a.jsonl").read_bytes() == SMALL
    assert json.loads((folder / "SOURCE.json").read_text())["licence"] == "Apache-2.0"


def packed(name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(SMALL)
        archive.addfile(member, io.BytesIO(SMALL))
    return buffer.getvalue()


def test_archives_are_unpacked_inside_their_folder_only(sources):
    folder = fetch("packed", client=Hub({"x.tar.gz": packed("bench/a.json")}).client(), say=lambda line: None)
    assert (folder / "bench" / "a.json").read_bytes() == SMALL
    with pytest.raises(OutcomesError, match="cannot be unpacked"):
        fetch("packed", client=Hub({"x.tar.gz": packed("../outside.json")}).client(), say=lambda line: None)


def offline(request):
    raise httpx.ConnectError("no route", request=request)


def test_offline_it_says_what_to_do_instead(sources):
    client = httpx.Client(transport=httpx.MockTransport(offline))
    with pytest.raises(
        OutcomesError, match=r"cannot be read \(ConnectError.*\n.*download \*\.csv.*\n.*--data nano"
    ):
        fetch("tiny", client=client, say=lambda line: None)


@pytest.mark.parametrize("answer", [httpx.Response(200, json={"odd": 1}), httpx.Response(200, text="<html>")])
def test_an_unexpected_answer_of_the_hub_is_no_traceback(sources, answer):
    client = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
    with pytest.raises(OutcomesError, match="cannot be read"):
        fetch("tiny", client=client, say=lambda line: None)


def test_a_set_that_is_not_here_names_the_command(sources):
    with pytest.raises(OutcomesError, match="router-bench fetch tiny"):
        read("tiny")
    result = CliRunner().invoke(app, ["fetch", "nonsense"])
    assert result.exit_code == 1
    assert "not a dataset to fetch (there are: tiny, packed, forge)" in result.output
    result = CliRunner().invoke(app, ["fetch", "generated"])
    assert "router-bench generate" in result.output
    result = CliRunner().invoke(app, ["fetch", "nano"])
    assert "in the package: --data nano" in result.output


def test_datasets_are_listed_with_formats(sources):
    result = CliRunner().invoke(app, ["datasets"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    for word in ("nano", "generated", "tiny", "router-bench fetch tiny", "routerbench", "router.db"):
        assert word in result.output


def test_the_generated_set_is_the_same_for_the_same_seed(sources, tmp_path):
    for name in ("a", "b"):
        result = CliRunner().invoke(app, ["generate", "--out", str(tmp_path / name), "--tasks", "40"])
        assert result.exit_code == 0, result.output
        assert "SIMULATED" in result.output
    first, second = read(tmp_path / "a"), read(tmp_path / "b")
    assert first.texts == second.texts
    assert first.scores.tolist() == second.scores.tolist()
    assert first.scores.shape[1] >= 5
    assert len(set(first.datasets)) >= 5
    assert first.cost_kind == "recorded"
    assert first.scores.mean(axis=0).max() > first.scores.mean() > 0


def test_the_generated_set_is_made_when_asked_for_by_name(sources, monkeypatch):
    monkeypatch.setattr("benchmarks.datasets.generated.TASKS", 20)
    monkeypatch.setattr("benchmarks.datasets.generated.generate.__defaults__", (20, 0))
    assert 15 <= len(read("generated").texts) <= 20
