# SPDX-License-Identifier: MIT
"""Unique keys: keep, replace, follow, and how long a key is taken."""
import pytest

from daemon import wait_until


def live(c, q):
    s = c.stats(q)
    return s["waiting"] + s["delayed"] + s["active"]


def test_keep_answers_with_the_living_job(c, q):
    id = c.add(q, "first", UNIQUE=("k",))
    assert c.add(q, "second", UNIQUE=("k",)) == id
    assert c.add(q, "third", UNIQUE=("k", "MODE", "KEEP")) == id
    assert live(c, q) == 1
    job = c.get(id)
    assert (job["payload"], job["unique"]) == ("first", "k")


def test_a_delayed_job_holds_its_key(c, q):
    id = c.add(q, "first", UNIQUE=("k",), DELAY=60000)
    assert c.add(q, "second", UNIQUE=("k",)) == id
    assert c.state(id) == "delayed"


def test_an_active_job_holds_its_key(c, q):
    id = c.add(q, "first", UNIQUE=("k",))
    c.fetch1(q)
    assert c.add(q, "second", UNIQUE=("k",)) == id
    assert live(c, q) == 1


def test_a_job_that_waits_for_its_retry_holds_its_key(c, q):
    id = c.add(q, "first", UNIQUE=("k",))
    c.fail(c.fetch1(q), "boom", DELAY=60000)
    assert c.add(q, "second", UNIQUE=("k",)) == id


def complete(c, q, id):
    c.done(c.fetch1(q))


def fail(c, q, id):
    c.fail(c.fetch1(q), "no", FINAL=True)


def remove(c, q, id):
    c.call("JOB.REMOVE", id)


@pytest.mark.parametrize("end", [complete, fail, remove],
                         ids=lambda f: f.__name__)
def test_a_key_is_free_when_its_job_has_ended(c, q, end):
    id = c.add(q, "first", UNIQUE=("k",))
    end(c, q, id)
    assert c.add(q, "second", UNIQUE=("k",)) != id


def test_a_key_is_free_when_its_job_has_expired(c, q):
    id = c.add(q, "first", UNIQUE=("k",), EXPIRES=50)
    c.failed(id)
    assert c.add(q, "second", UNIQUE=("k",)) != id


def test_keys_are_of_one_queue(c, q):
    a = c.add(q + ".a", "x", UNIQUE=("k",))
    b = c.add(q + ".b", "x", UNIQUE=("k",))
    assert a != b
    assert c.add(q + ".a", "x", UNIQUE=("other",)) not in (a, b)


def test_a_job_without_a_key_is_never_a_duplicate(c, q):
    assert c.add(q, "x", UNIQUE=("k",)) != c.add(q, "x") != c.add(q, "x")


def test_replace_debounces(c, q):
    id = c.add(q, "first", UNIQUE=("k", "MODE", "REPLACE"), DELAY=50000)
    before = c.get(id)
    assert c.add(q, "second", UNIQUE=("k", "MODE", "REPLACE"),
                 DELAY=90000) == id
    job = c.get(id)
    assert job["payload"] == "second"
    assert job["run_at"] >= before["run_at"] + 39000
    assert live(c, q) == 1


def test_replace_may_bring_the_time_forward(c, q):
    id = c.add(q, "first", UNIQUE=("k", "MODE", "REPLACE"), DELAY=60000)
    assert c.add(q, "now", UNIQUE=("k", "MODE", "REPLACE")) == id
    job = c.fetch1(q)
    assert (job["id"], job["payload"]) == (id, "now")


def test_replace_may_put_the_time_off(c, q):
    id = c.add(q, "first", UNIQUE=("k", "MODE", "REPLACE"))
    assert c.add(q, "later", UNIQUE=("k", "MODE", "REPLACE"),
                 DELAY=60000) == id
    assert c.state(id) == "delayed"
    assert c.fetch(q) == []


def test_replace_of_an_active_job_keeps(c, q):
    id = c.add(q, "first", UNIQUE=("k", "MODE", "REPLACE"))
    job = c.fetch1(q)
    assert c.add(q, "second", UNIQUE=("k", "MODE", "REPLACE")) == id
    assert c.get(id)["payload"] == "first"
    c.done(job)
    assert c.fetch(q) == []


FOLLOW = ("k", "MODE", "FOLLOW")


def test_follow_replaces_while_waiting(c, q):
    id = c.add(q, "first", UNIQUE=FOLLOW)
    assert c.add(q, "second", UNIQUE=FOLLOW) == id
    assert c.get(id)["payload"] == "second"
    assert live(c, q) == 1


def test_follow_keeps_one_follow_up_the_newest(c, q):
    first = c.add(q, "1", UNIQUE=FOLLOW)
    job = c.fetch1(q)
    second = c.add(q, "2", UNIQUE=FOLLOW)
    assert second != first
    third = c.add(q, "3", UNIQUE=FOLLOW)
    assert third != first
    assert live(c, q) == 2
    assert c.get(third)["payload"] == "3"
    # It waits for the active one, and WHY says so.
    assert c.fetch(q) == []
    why = c.why(third)
    assert why["gate"] == "unique"
    assert first in why["text"]
    c.done(job)
    after = c.fetch1(q)
    assert (after["id"], after["payload"]) == (third, "3")


def test_a_follow_up_waits_through_retries(c, q):
    c.add(q, "1", UNIQUE=FOLLOW, BACKOFF=("FIXED", 20))
    job = c.fetch1(q)
    second = c.add(q, "2", UNIQUE=FOLLOW)
    assert c.fail(job, "boom") == "delayed"
    again = c.fetch1(q)
    assert again["id"] == job["id"]
    assert c.why(second)["gate"] == "unique"
    c.fail(again, "no", FINAL=True)
    assert c.fetch1(q)["id"] == second


def test_a_follow_up_becomes_the_keys_holder(c, q):
    c.add(q, "1", UNIQUE=FOLLOW)
    job = c.fetch1(q)
    second = c.add(q, "2", UNIQUE=FOLLOW)
    c.done(job)
    assert c.add(q, "3", UNIQUE=("k",)) == second


def test_a_ttl_frees_the_key_earlier(c, q):
    id = c.add(q, "first", UNIQUE=("k", "TTL", 2000))
    assert c.add(q, "second", UNIQUE=("k", "TTL", 2000)) == id
    other = wait_until(
        lambda: (lambda n: n if n != id else None)(
            c.add(q, "third", UNIQUE=("k", "TTL", 60000))), "the TTL's end")
    # The key belongs to the newest job that took it now.
    assert c.add(q, "fourth", UNIQUE=("k",)) == other
    c.call("JOB.REMOVE", id)
    assert c.add(q, "fifth", UNIQUE=("k",)) == other


def test_a_ttl_does_not_outlive_the_job(c, q):
    id = c.add(q, "first", UNIQUE=("k", "TTL", 3600000))
    c.done(c.fetch1(q))
    assert c.add(q, "second", UNIQUE=("k",)) != id


def test_retry_conflicts_with_a_new_holder(c, q):
    old = c.add(q, "old", UNIQUE=("k",))
    c.fail(c.fetch1(q), "no", FINAL=True)
    new = c.add(q, "new", UNIQUE=("k",))
    e = c.error("JOB.RETRY", old)
    assert e.word == "CONFLICT"
    assert new in e.text or "unique" in e.text.lower()
    assert c.state(old) == "failed"
    c.done(c.fetch1(q))
    assert c.call("JOB.RETRY", old) == "OK"
    assert c.add(q, "newer", UNIQUE=("k",)) == old


def test_concurrent_adders_make_one_job(c, bh, q):
    clients = [bh.client() for _ in range(8)]
    for n in range(50):
        for other in clients:
            other.send("JOB.ADD", q, "x", "UNIQUE", "k%d" % n)
    answers = [[other.read() for _ in range(50)] for other in clients]
    assert all(a == answers[0] for a in answers)
    assert live(c, q) == 50
    for other in clients:
        other.close()


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_keys_survive_a_restart(make, q, how):
    d = make()
    c = d.client()
    waiting = c.add(q, "w", UNIQUE=("w",))
    c.add(q + ".f", "1", UNIQUE=FOLLOW)
    job = c.fetch1(q + ".f")
    follow = c.add(q + ".f", "2", UNIQUE=FOLLOW)
    getattr(d, how)()
    d.start()
    c = d.client()
    assert c.add(q, "again", UNIQUE=("w",)) == waiting
    assert c.fetch(q + ".f") == []
    assert c.why(follow)["gate"] == "unique"
    c.done(job)
    assert c.fetch1(q + ".f")["id"] == follow
