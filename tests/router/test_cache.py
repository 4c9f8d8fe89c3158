from __future__ import annotations

from router.cache import LARGEST, OVERHEAD, ReplyCache, key_of
from router.call import read


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_reply_is_given_again_until_its_time_is_over():
    clock = Clock()
    cache = ReplyCache(clock=clock)
    cache.put(b"k", "weak", "application/json", [b"fo", b"ur"], 10)
    clock.now = 9.9
    found = cache.get(b"k")
    assert (found.model, found.body) == ("weak", b"four")
    clock.now = 10.0
    assert cache.get(b"k") is None
    assert len(cache) == 0


def test_what_was_not_asked_for_the_longest_makes_room():
    cache = ReplyCache(capacity=3 * (10 + OVERHEAD))
    for name in (b"a", b"b", b"c"):
        cache.put(name, "m", "", [b"x" * 10], 60)
    cache.get(b"a")
    cache.put(b"d", "m", "", [b"x" * 10], 60)
    assert [cache.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


def test_a_reply_that_is_replaced_or_too_large_takes_no_room():
    cache = ReplyCache()
    for _ in range(3):
        cache.put(b"a", "m", "", [b"x" * 100], 60)
    cache.put(b"b", "m", "", [b"x" * (LARGEST + 1)], 60)
    assert cache._size == 100 + OVERHEAD


def call(body, header=None):
    return read(body, header)


BODY = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}'


def test_the_order_of_fields_changes_nothing_and_everything_else_does():
    same = b'{"temperature": 0, "messages": [{"content": "hi", "role": "user"}], "model": "auto"}'
    others = [
        key_of(2, call(BODY)),
        key_of(1, call(BODY, "0.5")),
        key_of(1, call(BODY.replace(b"hi", b"ho"))),
        key_of(1, call(BODY.replace(b"0}", b"1}"))),
        key_of(1, call(BODY.replace(b"0}", b'0, "stream": true}'))),
        key_of(1, call(BODY.replace(b"0}", b'0, "router": {"models": ["x"]}}'))),
    ]
    assert key_of(1, call(BODY)) == key_of(1, call(same))
    assert len({key_of(1, call(BODY)), *others}) == 7
