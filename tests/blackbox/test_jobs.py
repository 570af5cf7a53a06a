# SPDX-License-Identifier: MIT
"""A job's fields and states, seen by an outside worker."""
import threading
import time

import pytest

from daemon import wait_until
from resp import RespError

CONFIG = """
queues = (
  { name = "keep3.*"; retention = { completed_count = 3; failed_count = 2; }; },
  { name = "short.*"; retention = { completed = "300ms"; failed = "300ms"; }; },
  { name = "aged.*"; attempts = 2; max_stalled = 0; lease = "250ms";
    backoff = { type = "fixed"; delay = "70s"; jitter = 0.0; }; }
);
"""


def wall_ms():
    return int(time.time() * 1000)


# Fields.

def test_a_new_job_has_the_defaults(c, q):
    before = wall_ms()
    id = c.add(q, "hello")
    job = c.get(id)
    assert id.isdigit()
    assert job["id"] == id
    assert job["queue"] == q
    assert job["state"] == "waiting"
    assert job["payload"] == "hello"
    assert job["priority"] == 5
    assert job["attempts"] == 12
    assert job.get("attempt", 0) == 0
    assert job.get("error_count", 0) == 0
    assert job.get("stalled", 0) == 0
    assert before <= job["created_at"] <= wall_ms()
    assert "token" not in job
    assert "group" not in job
    assert "unique" not in job


def test_counts_and_times_are_integers(c, q):
    c.add(q, "p", EXPIRES=60000)
    job = c.fetch1(q)
    job = c.get(job["id"])
    for field in ("priority", "attempt", "attempts", "run_at", "expires_at",
                  "created_at", "started_at", "lease_until"):
        assert isinstance(job[field], int), (field, job)
    assert job["created_at"] <= job["started_at"] <= job["lease_until"]


def test_payload_is_bytes(c, q):
    payload = bytes(range(256)) * 5
    id = c.add(q, payload)
    as_text = payload.decode("utf-8", "surrogateescape")
    assert c.get(id)["payload"] == as_text
    assert c.fetch1(q)["payload"] == as_text


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536, 1048576])
def test_payload_sizes(c, q, size):
    payload = "z" * size
    id = c.add(q, payload)
    assert c.get(id)["payload"] == payload
    assert c.fetch1(q)["payload"] == payload


def test_a_payload_over_the_limit_is_too_big(c, q):
    e = c.error("JOB.ADD", q, "z" * 1048577)
    assert e.word == "TOOBIG"
    assert "1048576" in e.text
    assert c.call("PING") == "PONG"
    assert c.stats(q)["waiting"] == 0


def test_ids_ascend(c, q):
    ids = [int(c.add(q, "x")) for _ in range(20)]
    assert ids == sorted(set(ids))
    assert 0 < ids[0] and ids[-1] < 2 ** 63


def test_madd_answers_with_ascending_ids(c, q):
    ids = c.madd(q, ["a", "b", "c"], PRIORITY=3)
    assert [int(i) for i in ids] == sorted({int(i) for i in ids})
    assert [c.get(i)["payload"] for i in ids] == ["a", "b", "c"]
    assert all(c.get(i)["priority"] == 3 for i in ids)


def test_madd_is_all_or_none(c, q):
    assert c.error("JOB.MADD", q, 2, "ok", "z" * 1048577).word == "TOOBIG"
    assert c.error("JOB.MADD", q, 3, "a", "b").word in ("ERR", "BADARG")
    assert c.error("JOB.MADD", q, 1, "a", "PRIORITY", 10).word == "BADARG"
    assert c.stats(q)["waiting"] == 0


def test_priority_first_then_fifo(c, q):
    order = [(5, "e1"), (9, "z"), (0, "a1"), (5, "e2"), (1, "b"), (0, "a2")]
    for priority, payload in order:
        c.add(q, payload, PRIORITY=priority)
    got = [j["payload"] for j in c.fetch(q, COUNT=10)]
    assert got == ["a1", "a2", "b", "e1", "e2", "z"]


# Time.

def test_a_delayed_job_becomes_waiting_when_due(c, q):
    before = wall_ms()
    id = c.add(q, "later", DELAY=600)
    job = c.get(id)
    assert job["state"] == "delayed"
    assert before + 600 <= job["run_at"] <= wall_ms() + 600
    assert c.fetch(q) == []
    got = c.fetch1(q)
    assert got["id"] == id
    assert wall_ms() >= before + 600


def test_delayed_turns_waiting_with_nobody_fetching(c, q):
    id = c.add(q, "later", DELAY=50)
    wait_until(lambda: c.state(id) == "waiting", "the delay's end")


def test_at_is_wall_clock(c, q):
    at = wall_ms() + 3600000
    id = c.add(q, "later", AT=at)
    job = c.get(id)
    assert (job["state"], job["run_at"]) == ("delayed", at)


def test_at_in_the_past_means_now(c, q):
    id = c.add(q, "now", AT=1000)
    assert c.fetch1(q)["id"] == id


def test_the_earlier_due_job_comes_first(c, q):
    late = c.add(q, "late", DELAY=400)
    soon = c.add(q, "soon", DELAY=50)
    assert [c.fetch1(q)["id"], c.fetch1(q)["id"]] == [soon, late]


def test_expires_counts_from_run_at(c, q):
    job = c.get(c.add(q, "x", DELAY=50000, EXPIRES=30000))
    assert job["expires_at"] - job["run_at"] == 30000


def test_a_job_that_did_not_start_in_time_fails_as_expired(c, q):
    id = c.add(q, "x", EXPIRES=100)
    job = c.failed(id)
    assert "expired" in job["error"]
    assert job["finished_at"] >= job["expires_at"]
    assert c.fetch(q) == []
    assert c.stats(q)["failed"] == 1


def test_a_started_job_does_not_expire(c, q):
    started = c.add(q, "a", EXPIRES=2000)
    job = c.fetch1(q)
    assert job["id"] == started
    clock = c.add(q + ".clock", "b", EXPIRES=2100)
    c.failed(clock)
    assert c.state(started) == "active"
    # Nor in a later try: only the first start counts.
    assert c.fail(job, "again", DELAY=0) in ("waiting", "delayed")
    again = c.fetch1(q)
    assert again["id"] == started
    c.done(again)
    assert c.state(started) == "completed"


# Errors and attempts.

def test_errors_use_up_the_attempts(c, q):
    id = c.add(q, "x", ATTEMPTS=3, BACKOFF=("FIXED", 10))
    for n in (1, 2, 3):
        job = c.fetch1(q)
        assert job["attempt"] == n
        state = c.fail(job, "boom %d" % n)
        assert state == ("failed" if n == 3 else "delayed")
    job = c.get(id)
    assert job["state"] == "failed"
    assert job["error_count"] == 3
    assert job["error"] == "boom 3"
    assert [(e["attempt"], e["message"]) for e in job["errors"]] == \
        [(1, "boom 1"), (2, "boom 2"), (3, "boom 3")]
    times = [e["at"] for e in job["errors"]]
    assert times == sorted(times)
    assert job["finished_at"] >= times[-1]


def test_the_history_keeps_the_first_and_last_five_errors(c, q):
    id = c.add(q, "x", ATTEMPTS=13)
    for n in range(1, 14):
        c.fail(c.fetch1(q), "boom %d" % n, DELAY=0)
    job = c.get(id)
    assert job["error_count"] == 13
    assert [e["attempt"] for e in job["errors"]] == \
        [1, 2, 3, 4, 5, 9, 10, 11, 12, 13]


def test_a_long_error_is_cut_to_4_kib(c, q):
    id = c.add(q, "x", ATTEMPTS=1)
    c.fail(c.fetch1(q), "boom " + "y" * 10000)
    message = c.get(id)["errors"][0]["message"]
    assert message.startswith("boom yyy")
    assert 1000 <= len(message) <= 4096 + 16


def delay_after(c, q, id):
    """Fails the job's next try; the back-off that follows, in ms."""
    job = c.fetch1(q)
    assert job["id"] == id
    assert c.fail(job, "boom") == "delayed"
    job = c.get(id)
    assert job["state"] == "delayed"
    delay = job["run_at"] - job["errors"][-1]["at"]
    c.call("JOB.PROMOTE", id)
    return delay


def near(ms, wanted):
    return wanted - 60 <= ms <= wanted + 60


def test_exponential_backoff_grows_up_to_its_max(c, q):
    id = c.add(q, "x", BACKOFF=("EXPONENTIAL", 10000, "FACTOR", 2,
                                "MAX", 50000, "JITTER", 0))
    delays = [delay_after(c, q, id) for _ in range(5)]
    for ms, wanted in zip(delays, (10000, 20000, 40000, 50000, 50000)):
        assert near(ms, wanted), delays


def test_fixed_backoff_stays(c, q):
    id = c.add(q, "x", BACKOFF=("FIXED", 30000, "JITTER", 0))
    for _ in range(3):
        assert near(delay_after(c, q, id), 30000)


def test_the_default_backoff(c, q):
    id = c.add(q, "x")
    for wanted in (5000, 15000, 45000):
        ms = delay_after(c, q, id)
        assert wanted * 0.8 - 60 <= ms <= wanted + 60, ms


def test_jitter_only_shortens(c, q):
    ids = c.madd(q, ["x"] * 30, BACKOFF=("FIXED", 10000, "JITTER", 0.5))
    delays = set()
    for _ in ids:
        job = c.fetch1(q)
        c.fail(job, "boom")
        job = c.get(job["id"])
        delays.add(job["run_at"] - job["errors"][-1]["at"])
    assert all(5000 - 60 <= ms <= 10000 + 60 for ms in delays), delays
    assert max(delays) - min(delays) > 500, delays


def test_fail_with_a_delay(c, q):
    id = c.add(q, "x")
    assert c.fail(c.fetch1(q), "later", DELAY=77000) == "delayed"
    job = c.get(id)
    assert near(job["run_at"] - job["errors"][-1]["at"], 77000)
    assert job["error_count"] == 1


def test_fail_final(c, q):
    id = c.add(q, "x")
    assert c.fail(c.fetch1(q), "never", FINAL=True) == "failed"
    job = c.get(id)
    assert (job["state"], job["error"]) == ("failed", "never")
    assert c.stats(q)["failed"] == 1


def test_the_configuration_gives_defaults(c, named):
    q = named("aged")
    id = c.add(q, "x")
    job = c.fetch1(q)
    assert job["attempts"] == 2
    c.fail(job, "boom")
    job = c.get(id)
    assert near(job["run_at"] - job["errors"][-1]["at"], 70000)
    # A job's own option beats it.
    own = c.add(q, "y", ATTEMPTS=7)
    assert c.get(own)["attempts"] == 7


# Leases and tokens.

def test_an_active_job_has_a_lease(c, q):
    c.add(q, "x", LEASE=60000)
    before = wall_ms()
    job = c.fetch1(q, WORKER="w1")
    assert job["state"] == "active"
    assert job["token"]
    assert before + 59000 <= job["lease_until"] <= wall_ms() + 60000
    assert "token" not in c.get(job["id"])


def test_the_default_lease_is_half_a_minute(c, q):
    c.add(q, "x")
    before = wall_ms()
    job = c.fetch1(q)
    assert before + 30000 <= job["lease_until"] <= wall_ms() + 30000


def test_fetch_says_the_lease(c, q):
    c.add(q, "x", LEASE=1000)
    before = wall_ms()
    job = c.fetch1(q, LEASE=120000)
    assert job["lease_until"] >= before + 120000


def test_a_lost_lease_brings_the_job_back(c, q):
    id = c.add(q, "x")
    first = c.fetch1(q, LEASE=150)
    second = c.fetch1(q)
    assert second["id"] == id
    assert second["attempt"] == 2
    assert second["stalled"] == 1
    assert second.get("error_count", 0) == 0
    assert second["token"] != first["token"]
    c.done(second)
    assert c.stats(q)["stalled_total"] == 1


def test_an_old_token_is_stale_everywhere(c, q, bh):
    id = c.add(q, "x")
    old = c.fetch1(q, LEASE=100)
    new = c.fetch1(q)
    with bh.client() as other:
        for client in (c, other):
            for command in (["JOB.DONE", id, old["token"]],
                            ["JOB.FAIL", id, old["token"], "boom"],
                            ["JOB.EXTEND", id, old["token"], 1000],
                            ["JOB.RELEASE", id, old["token"]],
                            ["JOB.PROGRESS", id, old["token"], "50"]):
                assert client.error(*command).word == "STALE", command
        # The token holds the job, not the connection.
        assert other.call("JOB.DONE", id, new["token"]) == "OK"
    assert c.error("JOB.DONE", id, new["token"]).word == "STALE"
    assert c.state(id) == "completed"


def test_a_token_of_another_job_is_stale(c, q):
    a, b = c.add(q, "a"), c.add(q, "b")
    ja, jb = c.fetch(q, COUNT=2)
    assert (ja["id"], jb["id"]) == (a, b)
    assert c.error("JOB.DONE", a, jb["token"]).word == "STALE"
    assert c.state(a) == "active"


def test_a_waiting_job_has_no_valid_token(c, q):
    id = c.add(q, "a")
    job = c.fetch1(q)
    c.release(job)
    assert c.error("JOB.DONE", id, job["token"]).word == "STALE"
    assert c.state(id) == "waiting"


def test_poison_pill(c, q):
    id = c.add(q, "x", MAX_STALLED=1)
    c.fetch1(q, LEASE=100)
    c.fetch1(q, LEASE=100)
    job = c.failed(id)
    assert job["stalled"] == 2
    assert job.get("error_count", 0) == 0
    assert job["error"]
    assert c.fetch(q) == []


def test_two_lost_leases_are_survived_by_default(c, q):
    id = c.add(q, "x")
    for n in (1, 2, 3):
        assert c.fetch1(q, LEASE=100)["attempt"] == n
    assert c.failed(id)["stalled"] == 3


def test_max_stalled_0_fails_at_the_first(c, q):
    id = c.add(q, "x", MAX_STALLED=0)
    c.fetch1(q, LEASE=100)
    assert c.failed(id)["stalled"] == 1


def test_extend_keeps_a_lease(c, q):
    kept = c.add(q, "kept")
    job = c.fetch1(q, LEASE=1500)
    assert c.call("JOB.EXTEND", kept, job["token"], 90000) == "OK"
    assert c.get(kept)["lease_until"] > wall_ms() + 60000
    clock = c.add(q, "clock")
    c.fetch1(q, LEASE=1600)
    wait_until(lambda: c.state(clock) == "waiting", "the other lease's end")
    assert c.state(kept) == "active"
    assert c.done(job) == "OK"


def test_extend_may_shorten(c, q):
    id = c.add(q, "x")
    job = c.fetch1(q)
    c.call("JOB.EXTEND", id, job["token"], 50)
    wait_until(lambda: c.state(id) == "waiting", "the shortened lease")


def test_leases_count_anew_at_a_start_of_the_daemon(make, q):
    d = make()
    c = d.client()
    id = c.add(q, "x")
    job = c.fetch1(q, LEASE=20000)
    d.kill9()
    d.start()
    c = d.client()
    now = c.get(id)
    assert now["state"] == "active"
    assert now["lease_until"] >= job["lease_until"]
    assert now.get("stalled", 0) == 0
    assert c.done(job, "late") == "OK"
    assert c.get(id)["result"] == "late"


def test_a_lease_that_nobody_renews_ends_after_a_restart_too(make, q):
    d = make()
    c = d.client()
    id = c.add(q, "x")
    c.fetch1(q, LEASE=300)
    d.kill9()
    d.start()
    c = d.client()
    wait_until(lambda: c.state(id) == "waiting", "the lease's end")
    assert c.fetch1(q)["attempt"] == 2


# The worker's other words.

def test_done_keeps_the_result(c, q):
    id = c.add(q, "x")
    result = "\x00\x01 ünïcode"
    assert c.done(c.fetch1(q), result) == "OK"
    job = c.get(id)
    assert job["state"] == "completed"
    assert job["result"] == result
    assert job["started_at"] <= job["finished_at"]
    assert "lease_until" not in job


def test_done_without_a_result(c, q):
    id = c.add(q, "x")
    c.done(c.fetch1(q))
    job = c.get(id)
    assert job["state"] == "completed"
    assert "result" not in job or job["result"] is None


def test_release_gives_the_start_back(c, q):
    id = c.add(q, "x")
    for _ in range(5):
        job = c.fetch1(q)
        assert job["attempt"] == 1
        assert c.release(job) == "OK"
    job = c.get(id)
    assert job["state"] == "waiting"
    assert job.get("attempt", 0) == 0
    assert job.get("error_count", 0) == 0


def test_release_with_a_delay(c, q):
    id = c.add(q, "x")
    c.release(c.fetch1(q), DELAY=60000)
    job = c.get(id)
    assert job["state"] == "delayed"
    assert job["run_at"] > wall_ms() + 50000
    assert c.fetch(q) == []


def test_progress_shows(c, q):
    id = c.add(q, "x")
    job = c.fetch1(q)
    assert c.call("JOB.PROGRESS", id, job["token"], "42 of 100") == "OK"
    assert c.get(id)["progress"] == "42 of 100"
    assert c.call("JOB.PROGRESS", id, job["token"], "43 of 100") == "OK"
    assert c.get(id)["progress"] == "43 of 100"


# FETCH.

def test_fetch_of_an_empty_queue_is_null(c, q):
    assert c.call("JOB.FETCH", q) is None
    assert c.call("JOB.FETCH", q, "BLOCK", 30) is None


def test_fetch_takes_what_is_there_up_to_count(c, q):
    ids = c.madd(q, list("abcde"))
    assert [j["id"] for j in c.fetch(q, COUNT=3)] == ids[:3]
    assert [j["id"] for j in c.fetch(q, COUNT=3, BLOCK=10000)] == ids[3:]


def test_fetch_of_several_queues(c, q):
    b = c.add(q + ".b", "b")
    a = c.add(q + ".a", "a")
    got = {j["id"] for j in c.fetch(q + ".a", q + ".b", q + ".c", COUNT=9)}
    assert got == {a, b}


def in_thread(call):
    """Runs call() beside the test; .value holds what came of it."""
    t = threading.Thread(target=lambda: setattr(t, "value", call()))
    t.value = None
    t.start()
    return t


@pytest.mark.parametrize("block", [0, 60000])
def test_fetch_waits_for_a_job(c, bh, q, block):
    with bh.client() as worker:
        waiting = in_thread(lambda: worker.fetch(q + ".a", q, BLOCK=block))
        id = c.add(q, "x")
        waiting.join()
        assert [j["id"] for j in waiting.value] == [id]


def parked(c, other, q):
    """Returns once all that other has sent is being worked on: what follows
    a waiting command on its connection is executed too, its answer queues."""
    other.send("JOB.ADD", q + ".marker", "m")
    wait_until(lambda: c.stats(q + ".marker")["waiting"], "the marker")


def test_each_waiting_worker_gets_one_job(bh, c, q):
    workers = [bh.client() for _ in range(5)]
    for n, w in enumerate(workers):
        w.send("JOB.FETCH", q, "BLOCK", 0)
        parked(c, w, "%s.%d" % (q, n))
    ids = [c.add(q, "x") for _ in workers]
    got = [w.read()[0]["id"] for w in workers]
    assert sorted(got, key=int) == ids
    for w in workers:
        assert w.read().isdigit()
        w.close()


def test_a_worker_that_goes_away_takes_no_job(c, bh, q):
    gone = bh.client()
    gone.send("JOB.FETCH", q, "BLOCK", 0)
    parked(c, gone, q)
    gone.close()
    id = c.add(q, "x")
    job = c.fetch1(q)
    assert job["id"] == id
    # Had the closed connection claimed it, its start was given back.
    assert job["attempt"] == 1
    assert job.get("stalled", 0) == 0


# WAIT.

def test_wait_is_null_when_the_time_is_up(c, q):
    assert c.wait(c.add(q, "x"), 20) is None


def test_wait_answers_at_once_when_it_has_ended(c, q):
    id = c.add(q, "x")
    c.done(c.fetch1(q), "r")
    assert c.wait(id, 60000)["result"] == "r"


@pytest.mark.parametrize("ms", [0, 60000])
def test_wait_answers_when_the_job_ends(c, bh, q, ms):
    id = c.add(q, "x")
    with bh.client() as other:
        waiting = in_thread(lambda: other.wait(id, ms))
        c.done(c.fetch1(q), "r")
        waiting.join()
        assert waiting.value["state"] == "completed"
        assert waiting.value["result"] == "r"


def test_wait_sees_a_failure(c, bh, q):
    id = c.add(q, "x")
    with bh.client() as other:
        other.send("JOB.WAIT", id, 0)
        c.fail(c.fetch1(q), "no", FINAL=True)
        assert other.read()["error"] == "no"


def test_wait_sees_a_job_that_is_kept_no_longer(c, bh, q):
    id = c.add(q, "x", RETAIN=0)
    with bh.client() as other:
        other.send("JOB.WAIT", id, 60000)
        parked(c, other, q)
        c.done(c.fetch1(q), "r")
        job = other.read()
        assert (job["state"], job["result"]) == ("completed", "r")
    assert c.get(id) is None


# Retention.

def test_retain_0_removes_at_once(c, q):
    id = c.add(q, "x", RETAIN=0)
    c.done(c.fetch1(q), "r")
    assert c.get(id) is None
    assert c.stats(q)["completed"] == 0
    assert c.stats(q)["processed_total"] == 1


def test_retain_ends(c, q):
    id = c.add(q, "x", RETAIN=200)
    c.done(c.fetch1(q))
    assert c.state(id) == "completed"
    wait_until(lambda: c.get(id) is None, "the retention's end")


def test_completed_jobs_are_kept_up_to_their_count(c, named):
    q = named("keep3")
    ids = []
    for _ in range(6):
        ids.append(c.add(q, "x"))
        c.done(c.fetch1(q))
    assert [c.state(i) for i in ids] == [None] * 3 + ["completed"] * 3
    assert c.stats(q)["completed"] == 3


def test_retain_stands_outside_the_count(c, named):
    q = named("keep3")
    own = c.add(q, "own", RETAIN=3600000)
    c.done(c.fetch1(q))
    ids = []
    for _ in range(5):
        ids.append(c.add(q, "x"))
        c.done(c.fetch1(q))
    assert c.state(own) == "completed"
    assert [c.state(i) for i in ids] == [None] * 2 + ["completed"] * 3


def test_failed_jobs_are_kept_up_to_their_count(c, named):
    q = named("keep3")
    ids = []
    for _ in range(5):
        ids.append(c.add(q, "x"))
        c.fail(c.fetch1(q), "no", FINAL=True)
    wait_until(lambda: c.stats(q)["failed"] == 2, "the sweep")
    assert [c.state(i) for i in ids] == [None] * 3 + ["failed"] * 2


def test_age_ends_retention(c, named):
    q = named("short")
    done, failed = c.add(q, "x"), c.add(q, "y")
    c.done(c.fetch1(q))
    c.fail(c.fetch1(q), "no", FINAL=True)
    wait_until(lambda: c.get(done) is None and c.get(failed) is None,
               "the sweep")
    stats = c.stats(q)
    assert (stats["completed"], stats["failed"]) == (0, 0)
    assert stats["processed_total"] == 2


# The operator's words.

def test_remove(c, q):
    waiting = c.add(q, "w")
    delayed = c.add(q, "d", DELAY=60000)
    for id in (waiting, delayed):
        assert c.call("JOB.REMOVE", id) == "OK"
        assert c.get(id) is None
    completed, failed = c.add(q, "c"), c.add(q, "f")
    c.done(c.fetch1(q))
    c.fail(c.fetch1(q), "no", FINAL=True)
    for id in (completed, failed):
        assert c.call("JOB.REMOVE", id) == "OK"
        assert c.get(id) is None
    assert c.fetch(q) == []
    stats = c.stats(q)
    assert [stats[s] for s in ("waiting", "delayed", "active", "completed",
                               "failed")] == [0] * 5


def test_an_active_job_cannot_be_removed(c, q):
    id = c.add(q, "x")
    job = c.fetch1(q)
    assert c.error("JOB.REMOVE", id).word == "CONFLICT"
    assert c.done(job) == "OK"


def test_promote(c, q):
    id = c.add(q, "x", DELAY=3600000)
    assert c.call("JOB.PROMOTE", id) == "OK"
    assert c.state(id) == "waiting"
    assert c.fetch1(q)["id"] == id
    assert c.error("JOB.PROMOTE", id).word == "CONFLICT"


def test_update(c, q):
    waiting, delayed = c.add(q, "old"), c.add(q, "old", DELAY=60000)
    for id in (waiting, delayed):
        assert c.call("JOB.UPDATE", id, "new") == "OK"
        assert c.get(id)["payload"] == "new"
    job = c.fetch1(q)
    assert (job["id"], job["payload"]) == (waiting, "new")
    c.done(job)
    assert c.error("JOB.UPDATE", waiting, "newer").word == "CONFLICT"
    assert c.error("JOB.UPDATE", delayed, "z" * 1048577).word == "TOOBIG"


def test_cancel_of_an_active_job(c, q):
    id = c.add(q, "x")
    job = c.fetch1(q)
    assert c.call("JOB.CANCEL", id, "not wanted") == "OK"
    wait_until(lambda: c.state(id) == "failed", "the cancel")
    assert "cancelled" in c.get(id)["error"]
    assert c.error("JOB.DONE", id, job["token"]).word == "STALE"
    assert c.error("JOB.CANCEL", id).word == "CONFLICT"


def test_retry_of_a_failed_job(c, q):
    id = c.add(q, "x", ATTEMPTS=1)
    c.fail(c.fetch1(q), "no")
    assert c.state(id) == "failed"
    assert c.call("JOB.RETRY", id) == "OK"
    assert c.state(id) == "waiting"
    job = c.fetch1(q)
    assert (job["id"], job["payload"]) == (id, "x")
    c.done(job)
    assert c.state(id) == "completed"
    stats = c.stats(q)
    assert (stats["failed"], stats["completed"]) == (0, 1)


def test_retry_fresh(c, q):
    id = c.add(q, "x", ATTEMPTS=1)
    c.fail(c.fetch1(q), "no")
    assert c.call("JOB.RETRY", id, "FRESH") == "OK"
    assert c.fetch1(q)["id"] == id


def test_only_failed_jobs_are_retried(c, q):
    id = c.add(q, "x")
    assert c.error("JOB.RETRY", id).word == "CONFLICT"
    job = c.fetch1(q)
    assert c.error("JOB.RETRY", id).word == "CONFLICT"
    c.done(job)
    assert c.error("JOB.RETRY", id).word == "CONFLICT"


UNKNOWN = "9000000000000000000"


def test_get_of_an_unknown_job_is_null(c):
    assert c.call("JOB.GET", UNKNOWN) is None


@pytest.mark.parametrize("command", [
    ["JOB.RETRY", "?"], ["JOB.REMOVE", "?"], ["JOB.PROMOTE", "?"],
    ["JOB.UPDATE", "?", "x"], ["JOB.CANCEL", "?"], ["JOB.WHY", "?"],
    ["JOB.WAIT", "?", "10"]], ids=lambda v: v[0])
def test_an_unknown_job_is_not_found(c, command):
    e = c.error(*[UNKNOWN if a == "?" else a for a in command])
    assert e.word == "NOTFOUND"


@pytest.mark.parametrize("bad", ["", "x", "-1", "0x10", "1.5", "1 ",
                                 "9223372036854775808", "1" * 100])
@pytest.mark.parametrize("command", [
    ["JOB.GET", "?"], ["JOB.RETRY", "?"], ["JOB.REMOVE", "?"],
    ["JOB.WHY", "?"], ["JOB.WAIT", "?", "1"], ["JOB.DONE", "?", "t"]],
    ids=lambda v: v[0])
def test_a_malformed_id_is_a_bad_argument(c, command, bad):
    e = c.error(*[bad if a == "?" else a for a in command])
    assert e.word == "BADARG"
    assert "id" in e.text.lower()


@pytest.mark.parametrize("options, named_option", [
    (["PRIORITY", "10"], "PRIORITY"),
    (["PRIORITY", "-1"], "PRIORITY"),
    (["PRIORITY", "high"], "PRIORITY"),
    (["DELAY", "-5"], "DELAY"),
    (["DELAY", "2s"], "DELAY"),
    (["AT", "tomorrow"], "AT"),
    (["EXPIRES", "-1"], "EXPIRES"),
    (["ATTEMPTS", "x"], "ATTEMPTS"),
    (["ATTEMPTS", "-1"], "ATTEMPTS"),
    (["BACKOFF", "LINEAR", "5"], "BACKOFF"),
    (["BACKOFF", "FIXED", "soon"], "BACKOFF"),
    (["BACKOFF", "FIXED", "5", "JITTER", "2"], "JITTER"),
    (["BACKOFF", "FIXED", "5", "FACTOR", "nan"], "FACTOR"),
    (["TIMEOUT", "x"], "TIMEOUT"),
    (["LEASE", "x"], "LEASE"),
    (["MAX_STALLED", "-1"], "MAX_STALLED"),
    (["RETAIN", "-1"], "RETAIN"),
    (["UNIQUE", "k", "MODE", "STEAL"], "MODE"),
    (["UNIQUE", "k", "TTL", "x"], "TTL"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_a_bad_option_is_named_with_its_value(c, q, options, named_option):
    e = c.error("JOB.ADD", q, "x", *options)
    assert e.word == "BADARG", e
    assert named_option.lower() in e.text.lower()
    assert options[-1].lower() in e.text.lower() \
        or options[1].lower() in e.text.lower()
    assert c.stats(q)["waiting"] == 0


@pytest.mark.parametrize("args", [
    ["SHINY", "1"], ["PRIORITY"], ["BACKOFF", "FIXED"], ["UNIQUE"],
    ["DELAY", "5", "AT", "1700000000000"]], ids=" ".join)
def test_broken_syntax(c, q, args):
    e = c.error("JOB.ADD", q, "x", *args)
    assert e.word in ("ERR", "BADARG")
    assert args[0].lower() in e.text.lower() or "syntax" in e.text.lower()
    assert c.stats(q)["waiting"] == 0


@pytest.mark.parametrize("bad", ["", "a b", "ä", "a/b", "x" * 129, "a\x00b",
                                 "q*"])
def test_bad_queue_names(c, bad):
    e = c.error("JOB.ADD", bad, "x")
    assert e.word == "BADARG"
    assert "queue" in e.text.lower()


@pytest.mark.parametrize("name", ["a", "A.b_c:d-9", "x" * 128])
def test_good_queue_names(c, name):
    id = c.add(name, "x")
    assert c.get(id)["queue"] == name
    assert c.fetch1(name)["id"] == id


@pytest.mark.parametrize("option", ["GROUP", "UNIQUE"])
def test_group_and_unique_keys_are_bounded(c, q, option):
    assert c.add(q, "x", **{option: "k" * 256})
    e = c.error("JOB.ADD", q, "x", option, "k" * 257)
    assert e.word in ("BADARG", "TOOBIG")
    assert "256" in e.text
    assert c.stats(q)["waiting"] == 1


# Lists.

def test_list_pages_through_a_state(c, q):
    ids = c.madd(q, ["p%d" % n for n in range(25)])
    cursor, page = c.list(q, "waiting", COUNT=10)
    assert len(page) == 10
    assert cursor not in ("0", 0, None)
    jobs = c.list_all(q, "waiting", COUNT=10)
    assert [j["id"] for j in jobs] == ids
    assert [j["payload"] for j in jobs] == ["p%d" % n for n in range(25)]
    back = c.list_all(q, "waiting", COUNT=7, REVERSE=True)
    assert [j["id"] for j in back] == ids[::-1]


def test_list_of_every_state(c, q):
    done = c.add(q, "a")
    c.done(c.fetch1(q))
    failed = c.add(q, "b")
    c.fail(c.fetch1(q), "no", FINAL=True)
    active = c.add(q, "c")
    c.fetch1(q)
    waiting, delayed = c.add(q, "d"), c.add(q, "e", DELAY=60000)
    for state, id in (("completed", done), ("failed", failed),
                      ("active", active), ("waiting", waiting),
                      ("delayed", delayed)):
        jobs = c.list_all(q, state)
        assert [j["id"] for j in jobs] == [id], state
        assert jobs[0]["state"] == state
        assert "token" not in jobs[0]
    e = c.error("JOB.LIST", q, "sleeping")
    assert e.word == "BADARG" and "sleeping" in e.text
    assert c.list_all("unused-" + q, "waiting") == []


# Over restarts.

@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_everything_survives_a_restart(make, q, how):
    d = make()
    c = d.client()
    opts = dict(PRIORITY=2, EXPIRES=900000, ATTEMPTS=4,
                BACKOFF=("FIXED", 40000, "JITTER", 0), GROUP="g",
                UNIQUE=("u",), MAX_STALLED=5, RETAIN=60000, DELAY=600000)
    ids = {
        "full": c.add(q, "full", **opts),
        "completed": c.add(q + ".c", "c"),
        "failed": c.add(q + ".f", "f"),
        "retried": c.add(q + ".r", "r"),
    }
    c.done(c.fetch1(q + ".c"), "result")
    c.fail(c.fetch1(q + ".f"), "no", FINAL=True)
    c.fail(c.fetch1(q + ".r"), "once", DELAY=600000)
    ids["first"], ids["second"] = c.madd(q + ".w", ["1", "2"])
    before = {k: c.get(i) for k, i in ids.items()}
    getattr(d, how)()
    d.start()
    c = d.client()
    after = {k: c.get(i) for k, i in ids.items()}
    # The clock may have been read anew, by some milliseconds.
    for m in (before, after):
        for job in m.values():
            job["run_at"] = round(job["run_at"] / 2000) \
                if "run_at" in job else None
            job["expires_at"] = round(job["expires_at"] / 2000) \
                if "expires_at" in job else None
    for name in ids:
        for field in ("run_at", "expires_at"):
            a, b = before[name].pop(field), after[name].pop(field)
            assert a == b or abs(a - b) <= 1, (name, field)
    assert after == before
    assert [j["id"] for j in c.fetch(q + ".w", COUNT=5)] == \
        [ids["first"], ids["second"]]
    assert int(c.add(q, "new")) > max(map(int, ids.values()))


def test_ids_are_not_used_again_after_a_restart(make, q):
    d = make()
    c = d.client()
    ids = c.madd(q, ["x"] * 10)
    for id in ids:
        c.call("JOB.REMOVE", id)
    d.kill9()
    d.start()
    assert int(d.client().add(q, "y")) > int(ids[-1])


def test_errors_are_not_exceptions_of_the_protocol(c, q):
    # One pipeline with an error in its middle: the rest is answered.
    r = c.pipe([["JOB.ADD", q, "a"], ["JOB.GET", "x"], ["PING"]])
    assert r[0].isdigit() and r[2] == "PONG"
    assert isinstance(r[1], RespError) and r[1].word == "BADARG"
