from __future__ import annotations

from benchmarks.load import own


def test_our_own_settings_are_valid(tmp_path):
    from router.config import read

    reading = read(own.write_settings(tmp_path, "http://127.0.0.1:9/v1", 2048))
    assert not reading.problems
    assert {model.api_base for model in reading.models} == {"http://127.0.0.1:9/v1"}
    assert reading.settings.context_size == 2048
