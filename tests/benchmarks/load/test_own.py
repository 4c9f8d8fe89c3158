from __future__ import annotations

import json

from benchmarks.load import own
from benchmarks.load.bars import DEFAULTS
from benchmarks.load.settings import settings
from benchmarks.load.starting import Starting


def test_our_own_settings_are_valid(tmp_path):
    from router.config import read

    reading = read(own.write_settings(tmp_path, "http://127.0.0.1:9/v1", 2048))
    assert not reading.problems
    assert {model.api_base for model in reading.models} == {"http://127.0.0.1:9/v1"}
    assert reading.settings.context_size == 2048


def test_our_start_is_timed_by_a_named_model_since_auto_waits_for_v0(tmp_path):
    asked = {"model": "auto", "rounds": 1, "concurrency": "1"}
    chosen = settings(DEFAULTS | asked | {"versus": "other --port {port}", "versus_model": "theirs"})
    models = []
    for target in chosen.targets:
        starting = Starting(chosen, target, tmp_path, None, "", lambda _doing, _share: None)
        models.append(json.loads(starting._ask(0).body)["model"])
    assert [target.model for target in chosen.targets] == ["auto", "theirs"]
    assert models == [own.NAMED, "theirs"]
    assert own.NAMED in own.PRICES
