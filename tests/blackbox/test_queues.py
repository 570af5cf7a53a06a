# SPDX-License-Identifier: MIT
"""Queues: gates and what WHY says of them, shares, limits, errors, bulk."""
import collections
import time

import pytest

from daemon import wait_until
from resp import RespError

CONFIG = """
queues = (
  { name = "heavy.*"; weight = 6; },
  { name = "middle.*"; weight = 3; },
  { name = "light.*"; weight = 1; },
  { name = "strict.*"; strict = true; },
  { name = "two.*"; max_active = 2; },
  { name = "rate2.*"; rate = { limit = 2; per = "600s"; }; },
  { name = "fast.*"; rate = { limit = 20; per = "2s"; burst = 1; }; },
  { name = "burst.*"; rate = { limit = 1; per = "600s"; burst = 3; }; },
  { name = "bygroup.*"; group_concurrency = 10;
    rate = { limit = 1; per = "600s"; by = "group"; }; },
  { name = "full.*"; max_waiting = 3; },
  { name = "dead.*"; dead_letter = "morgue"; },
  { name = "first.match"; max_active = 1; },
  { name = "first.*"; max_active = 5; }
);
"""

SCRIPTS = {
    "slow.lua": """
return { queue = "slow", concurrency = 1,
    perform = function(job) sleep(job.data) end }
""",
}


def wall_ms():
    return int(time.time() * 1000)


# Pause and hold.

def test_pause_and_resume(c, q):
    id = c.add(q, "x")
    assert c.call("QUEUE.PAUSE", q) == "OK"
    assert c.fetch(q) == []
    # Work is still taken in.
    second = c.add(q, "y")
    assert c.state(second) == "waiting"
    assert c.stats(q)["paused"]
    why = c.why(id)
    assert why["gate"] == "paused"
    assert q in why["text"] or "paused" in why["text"]
    assert c.call("QUEUE.RESUME", q) == "OK"
    assert not c.stats(q)["paused"]
    assert [j["id"] for j in c.fetch(q, COUNT=5)] == [id, second]


def test_pause_spares_the_active_job(c, q):
    c.add(q, "x")
    job = c.fetch1(q)
    c.call("QUEUE.PAUSE", q)
    assert c.done(job) == "OK"


def test_pause_creates_the_queue(c, q):
    assert q not in str(c.call("QUEUE.LIST"))
    c.call("QUEUE.PAUSE", q)
    assert q in str(c.call("QUEUE.LIST"))


def test_resume_wakes_a_waiting_worker(c, bh, q):
    c.call("QUEUE.PAUSE", q)
    id = c.add(q, "x")
    with bh.client() as worker:
        worker.send("JOB.FETCH", q, "BLOCK", 0)
        wait_until(lambda: c.parked(worker, "JOB.FETCH"), "the worker")
        c.call("QUEUE.RESUME", q)
        assert worker.read()[0]["id"] == id


def test_hold(c, q):
    id = c.add(q, "x")
    before = wall_ms()
    assert c.call("QUEUE.HOLD", q, 60000, "429 from outside") == "OK"
    assert c.fetch(q) == []
    why = c.why(id)
    assert why["gate"] == "held"
    assert "429 from outside" in why["text"]
    assert before + 59000 <= why["until"] <= wall_ms() + 61000
    c.call("QUEUE.RESUME", q)
    assert c.fetch1(q)["id"] == id


def test_a_hold_ends_by_itself(c, q):
    c.call("QUEUE.HOLD", q, 300)
    id = c.add(q, "x")
    assert c.fetch(q) == []
    assert c.fetch1(q)["id"] == id


def test_hold_needs_a_time(c, q):
    for bad in ("soon", "-1", ""):
        assert c.error("QUEUE.HOLD", q, bad).word == "BADARG"


def test_pause_and_hold_survive_a_restart(make, q):
    d = make()
    c = d.client()
    paused, held = c.add(q + ".p", "x"), c.add(q + ".h", "x")
    c.call("QUEUE.PAUSE", q + ".p")
    c.call("QUEUE.HOLD", q + ".h", 600000, "bad weather")
    d.kill9()
    d.start()
    c = d.client()
    assert c.fetch(q + ".p", q + ".h") == []
    assert c.why(paused)["gate"] == "paused"
    why = c.why(held)
    assert why["gate"] == "held" and "bad weather" in why["text"]


# WHY.

def test_why_delayed(c, q):
    id = c.add(q, "x", DELAY=600000)
    why = c.why(id)
    assert why["gate"] == "delayed"
    assert abs(why["until"] - c.get(id)["run_at"]) < 2000


def test_why_delayed_by_a_retry(c, q):
    id = c.add(q, "x")
    c.fail(c.fetch1(q), "boom", DELAY=600000)
    assert c.why(id)["gate"] == "delayed"


def test_why_no_handler(c, q):
    id = c.add(q, "x")
    why = c.why(id)
    assert why["gate"] == "no_handler"
    assert len(why["text"]) > 10


def test_why_concurrency(c):
    first = c.add("slow", '"30s"', TIMEOUT=60000)
    wait_until(lambda: c.state(first) == "active", "the handler")
    second = c.add("slow", '"0s"')
    why = c.why(second)
    assert why["gate"] == "concurrency"
    assert why["text"]
    c.call("JOB.CANCEL", first)
    c.completed(second)
    assert c.state(first) == "failed"


def test_the_first_gate_is_named(c, named):
    q = named("two")
    ids = c.madd(q, ["a", "b", "c"])
    assert len(c.fetch(q, COUNT=9)) == 2
    assert c.why(ids[2])["gate"] == "max_active"
    c.call("QUEUE.PAUSE", q)
    assert c.why(ids[2])["gate"] == "paused"


def test_why_of_a_job_that_is_not_held(c, q):
    id = c.add(q, "x")
    c.fetch1(q)
    why = c.why(id)
    assert "active" in str(why)


# Limits.

def test_max_active(c, named):
    q = named("two")
    ids = c.madd(q, list("abcd"))
    jobs = c.fetch(q, COUNT=9)
    assert [j["id"] for j in jobs] == ids[:2]
    assert c.fetch(q) == []
    c.done(jobs[0])
    assert [j["id"] for j in c.fetch(q, COUNT=9)] == ids[2:3]


def test_the_first_matching_entry_counts(c):
    c.madd("first.match", list("ab"))
    c.madd("first.other", list("ab"))
    assert len(c.fetch("first.match", COUNT=9)) == 1
    assert len(c.fetch("first.other", COUNT=9)) == 2


def test_rate_of_a_queue(c, named):
    q = named("rate2")
    ids = c.madd(q, list("abc"))
    jobs = c.fetch(q, COUNT=9)
    assert [j["id"] for j in jobs] == ids[:2]
    # Ending them gives no token back.
    for j in jobs:
        c.done(j)
    assert c.fetch(q) == []
    assert c.state(ids[2]) == "waiting"
    why = c.why(ids[2])
    assert why["gate"] == "rate"
    assert wall_ms() < why["until"] <= wall_ms() + 600000


def test_a_retry_takes_a_token(c, named):
    q = named("rate2")
    c.add(q, "x")
    c.fail(c.fetch1(q), "boom", DELAY=0)
    c.fail(c.fetch1(q), "boom", DELAY=0)
    assert c.fetch(q, BLOCK=100) == []


def test_tokens_come_back_with_time(c, named):
    q = named("fast")
    c.madd(q, ["x"] * 4)
    start = time.monotonic()
    assert len(c.fetch(q, COUNT=9)) == 1
    for _ in range(3):
        c.fetch1(q)
    # 20 in 2 s: one each 100 ms.
    assert time.monotonic() - start >= 0.25


def test_burst(c, named):
    q = named("burst")
    c.madd(q, ["x"] * 6)
    assert len(c.fetch(q, COUNT=9)) == 3


def test_rate_by_group(c, named):
    q = named("bygroup")
    for group in "aabbc":
        c.add(q, group, GROUP=group)
    jobs = c.fetch(q, COUNT=9)
    assert sorted(j["payload"] for j in jobs) == ["a", "b", "c"]
    for j in jobs:
        c.done(j)
    assert c.fetch(q) == []
    waiting = c.list_all(q, "waiting")
    assert [c.why(j["id"])["gate"] for j in waiting] == ["rate", "rate"]


def test_another_gate_takes_no_token(c, named):
    q = named("rate2")
    ids = c.madd(q, list("ab"))
    c.call("QUEUE.PAUSE", q)
    for _ in range(5):
        assert c.fetch(q, COUNT=9) == []
    c.call("QUEUE.RESUME", q)
    assert [j["id"] for j in c.fetch(q, COUNT=9)] == ids


def test_max_waiting(c, named):
    q = named("full")
    ids = c.madd(q, list("abc"))
    e = c.error("JOB.ADD", q, "d")
    assert e.word == "QUEUEFULL"
    assert q in e.text and "3" in e.text
    assert c.stats(q)["waiting"] == 3
    job = c.fetch1(q)
    assert job["id"] == ids[0]
    c.done(job)
    assert c.add(q, "e")


def test_max_waiting_holds_for_all_or_none(c, named):
    q = named("full")
    c.madd(q, list("ab"))
    assert c.error("JOB.MADD", q, 2, "c", "d").word == "QUEUEFULL"
    assert c.stats(q)["waiting"] == 2
    c.add(q, "c")


# Shares.

def drain(c, queues, n):
    got = collections.Counter()
    for _ in range(n):
        job = c.fetch(*queues)[0]
        got[job["queue"].split(".")[0]] += 1
    return got


def test_weights_share_the_attention(c, named):
    queues = [named("light"), named("heavy"), named("middle")]
    for q in queues:
        c.madd(q, ["x"] * 200)
    got = drain(c, queues, 200)
    assert abs(got["heavy"] - 120) <= 10, got
    assert abs(got["middle"] - 60) <= 10, got
    assert abs(got["light"] - 20) <= 10, got


@pytest.mark.embedded("known difference: one fetch takes from one queue first")
def test_weights_hold_inside_one_fetch(c, named):
    queues = [named("light"), named("heavy"), named("middle")]
    for q in queues:
        c.madd(q, ["x"] * 200)
    got = collections.Counter(
        j["queue"].split(".")[0] for j in c.fetch(*queues, COUNT=100))
    assert abs(got["heavy"] - 60) <= 8, got
    assert abs(got["light"] - 10) <= 8, got


def test_an_empty_queue_leaves_its_share(c, named):
    heavy, light = named("heavy"), named("light")
    c.madd(light, ["x"] * 20)
    assert drain(c, [heavy, light], 20)["light"] == 20


def test_strict_comes_before_all(c, named):
    heavy, strict = named("heavy"), named("strict")
    c.madd(heavy, ["x"] * 10)
    c.madd(strict, ["x"] * 10)
    assert drain(c, [heavy, strict], 10) == {"strict": 10}
    assert drain(c, [heavy, strict], 10) == {"heavy": 10}


# Errors.

def three_kinds(c, q):
    """5 jobs dead of two kinds of error: 3 of one, 2 of the other."""
    ids = {"timeout": [], "refused": []}
    for guest, ms in (("ana", 31), ("bo", 4711), ("cleo", 5)):
        ids["timeout"].append(c.add(q, guest, ATTEMPTS=1))
        c.fail(c.fetch1(q), 'timeout after %d ms for guest "%s"'
               % (ms, guest))
    for id in ("550e8400-e29b-41d4-a716-446655440000",
               "7d444840-9dc0-11d1-b245-5ffdce74fad2"):
        ids["refused"].append(c.add(q, id, ATTEMPTS=1))
        c.fail(c.fetch1(q), "refused by %s" % id)
    return ids


def test_errors_are_folded(c, q):
    ids = three_kinds(c, q)
    rows = sorted(c.errors(q), key=lambda r: -r["count"])
    assert [r["count"] for r in rows] == [3, 2]
    assert "timeout after" in rows[0]["text"]
    assert "refused by" in rows[1]["text"]
    assert str(rows[0]["sample_id"]) in ids["timeout"]
    assert rows[0]["first_at"] <= rows[0]["last_at"]
    assert rows[0]["fingerprint"] != rows[1]["fingerprint"]
    assert c.errors("unused-" + q) == []


def by_kind(c, q):
    return {r["text"].split()[0]: r["fingerprint"] for r in c.errors(q)}


def test_list_retry_and_purge_take_a_fingerprint(c, q):
    ids = three_kinds(c, q)
    kinds = by_kind(c, q)
    listed = c.list_all(q, "failed", ERROR=kinds["refused"])
    assert [j["id"] for j in listed] == ids["refused"]
    assert c.call("QUEUE.RETRY", q, "ERROR", kinds["timeout"]) == 3
    assert c.stats(q)["waiting"] == 3
    assert [j["id"] for j in c.fetch(q, COUNT=9)] == ids["timeout"]
    assert c.call("QUEUE.PURGE", q, "failed", "ERROR", kinds["refused"]) == 2
    assert c.stats(q)["failed"] == 0
    assert c.errors(q) == []


def test_fingerprints_survive_a_restart(make, q):
    d = make()
    c = d.client()
    three_kinds(c, q)
    before = by_kind(c, q)
    d.kill9()
    d.start()
    c = d.client()
    assert by_kind(c, q) == before
    assert c.call("QUEUE.RETRY", q, "ERROR", before["timeout"]) == 3


def test_retry_of_all_failed_jobs(c, q):
    three_kinds(c, q)
    assert c.call("QUEUE.RETRY", q) == 5
    assert (c.stats(q)["waiting"], c.stats(q)["failed"]) == (5, 0)
    assert c.call("QUEUE.RETRY", q) == 0


def test_a_bad_fingerprint(c, q):
    three_kinds(c, q)
    r = c.pipe([["QUEUE.PURGE", q, "failed", "ERROR", "no such thing!"]])[0]
    assert r == 0 or r.word == "BADARG"
    assert c.stats(q)["failed"] == 5


def test_dead_letter(c, named):
    q = named("dead")
    id = c.add(q, "the payload", ATTEMPTS=1)
    c.fail(c.fetch1(q), "boom at sea")
    assert c.state(id) == "failed"
    dead = c.fetch1("morgue")
    assert "the payload" in dead["payload"]
    assert id in str(dead)
    assert q in str(dead)
    assert "boom at sea" in str(dead)
    c.done(dead)


def test_no_dead_letter_while_tries_are_left(c, named):
    q = named("dead")
    c.add(q, "x")
    c.fail(c.fetch1(q), "boom", DELAY=600000)
    assert c.fetch("morgue") == []


# Bulk.

@pytest.mark.parametrize("state", ["waiting", "delayed", "completed",
                                   "failed"])
def test_purge_of_a_state(c, q, state):
    done = c.add(q, "c")
    c.done(c.fetch1(q))
    failed = c.add(q, "f")
    c.fail(c.fetch1(q), "no", FINAL=True)
    active = c.add(q, "a")
    job = c.fetch1(q)
    waiting, delayed = c.add(q, "w"), c.add(q, "d", DELAY=600000)
    ids = {"waiting": waiting, "delayed": delayed, "completed": done,
           "failed": failed, "active": active}
    assert c.call("QUEUE.PURGE", q, state) == 1
    assert c.get(ids.pop(state)) is None
    for other, id in ids.items():
        assert c.state(id) == other
    assert c.stats(q)[state] == 0
    c.done(job)


def test_purge_leaves_active_jobs(c, q):
    id = c.add(q, "x")
    job = c.fetch1(q)
    r = c.pipe([["QUEUE.PURGE", q, "active"]])[0]
    assert isinstance(r, RespError) or r == 0
    assert c.state(id) == "active"
    assert c.done(job) == "OK"
    assert c.error("QUEUE.PURGE", q, "everything").word == "BADARG"


def test_purge_of_many_does_not_block(c, bh, q):
    for _ in range(5):
        c.madd(q, ["x"] * 1000)
    with bh.client() as other:
        c.send("QUEUE.PURGE", q, "waiting")
        assert other.call("PING") == "PONG"
        assert c.read() == 5000
    assert c.stats(q)["waiting"] == 0
    assert c.fetch(q) == []


def test_purge_frees_groups_and_keys(c, q):
    c.add(q, "1", GROUP="g", UNIQUE=("k",))
    c.add(q, "2", GROUP="g")
    assert c.call("QUEUE.PURGE", q, "waiting") == 2
    id = c.add(q, "3", GROUP="g", UNIQUE=("k",))
    assert c.fetch1(q)["id"] == id


# Stats.

NAMES = ["waiting", "delayed", "active", "completed", "failed", "paused",
         "oldest_waiting_ms", "processed_total", "failed_total",
         "stalled_total", "p50_ms", "p95_ms", "p99_ms"]


def test_stats_of_an_unused_queue_are_zeros(c, q):
    stats = c.stats(q)
    for name in NAMES:
        assert name in stats, name
        assert not stats[name], (name, stats)
        assert isinstance(stats[name], int)
    assert q not in str(c.call("QUEUE.LIST"))


def test_stats_count(c, q):
    c.madd(q, ["x"] * 5)
    c.add(q, "later", DELAY=600000)
    c.done(c.fetch1(q))
    c.fail(c.fetch1(q), "no", FINAL=True)
    c.fail(c.fetch1(q), "later", DELAY=600000)
    c.fetch1(q)
    stats = c.stats(q)
    assert {n: stats[n] for n in ("waiting", "delayed", "active",
                                  "completed", "failed")} == \
        {"waiting": 1, "delayed": 2, "active": 1, "completed": 1,
         "failed": 1}
    assert stats["processed_total"] == 3
    assert stats["failed_total"] == 1
    assert q in str(c.call("QUEUE.LIST"))


def test_oldest_waiting_grows(c, q):
    c.add(q, "x")
    wait_until(lambda: c.stats(q)["oldest_waiting_ms"] >= 30, "its age")
    assert c.stats(q)["oldest_waiting_ms"] < 60000


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_totals_survive_a_restart(make, q, how):
    d = make()
    c = d.client()
    c.madd(q, ["x"] * 4)
    for _ in range(3):
        c.done(c.fetch1(q))
    c.fail(c.fetch1(q), "no", FINAL=True)
    before = c.stats(q)
    getattr(d, how)()
    d.start()
    after = d.client().stats(q)
    for name in ("completed", "failed", "processed_total", "failed_total"):
        assert after[name] == before[name], name
    assert after["processed_total"] == 4


def test_max_queues(make):
    d = make({"max_queues": 5})
    c = d.client()
    for n in range(5):
        c.add("room%d" % n, "x")
    e = c.error("JOB.ADD", "one.too.many", "x")
    assert "5" in e.text or "max_queues" in e.text
    assert c.add("room3", "still works")


def test_a_reload_changes_queue_options(make):
    d = make(config='queues = ( { name = "lim"; max_active = 1; } );')
    c = d.client()
    c.madd("lim", list("abc"))
    assert len(c.fetch("lim", COUNT=9)) == 1
    d.write_config(config='queues = ( { name = "lim"; max_active = 3; } );')
    d.reload_ok()
    assert len(c.fetch("lim", COUNT=9)) == 2
