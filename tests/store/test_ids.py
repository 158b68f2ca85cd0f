"""Run ids are UUIDv7, and greater than those before."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from runner.store import ids


def test_an_id_is_a_uuid_of_version_seven_and_of_this_moment():
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_rise_even_when_many_are_made_in_one_millisecond_by_many_threads():
    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: [ids.new_id() for _ in range(2000)], range(8)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({identity for batch in batches for identity in batch}) == 16_000


def test_ids_rise_when_the_clock_is_set_back(monkeypatch):
    first = ids.new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
    assert ids.new_id() > first


def test_an_id_is_greater_than_the_one_it_follows(monkeypatch):
    monkeypatch.setattr(ids, "_last", 0)  # of another process
    future = "ffff0000-0000-7fff-8000-000000000000"
    made = ids.new_id(future)
    assert ids.is_id(made)
    assert future < made < "ffff0000-0002"


def test_the_short_id_is_the_random_end():
    identity = ids.new_id()
    assert ids.short(identity) == identity.replace("-", "")[-8:]
    assert len({ids.short(ids.new_id()) for _ in range(1000)}) == 1000


def test_only_ids_are_taken_for_ids():
    assert ids.is_id(ids.new_id())
    assert not any(map(ids.is_id, ["", "latest", ids.new_id() + "\n", ids.new_id().upper(), "." + ids.new_id()]))
