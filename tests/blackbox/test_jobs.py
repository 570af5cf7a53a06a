# SPDX-License-Identifier: MIT
"""A job's fields, times, errors and end, seen by an outside worker."""
import time

import pytest

from daemon import wait_until

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


def test_spans_count_from_now_after_an_idle_while(c, q):
    # Nothing wakes an idle daemon: what it took for the time then is old.
    leased = c.add(q, "leased", LEASE=60000)
    time.sleep(1.5)
    before = wall_ms()
    id = c.add(q, "delayed", DELAY=1000)
    job = c.get(id)
    assert job["created_at"] >= before - 5
    assert job["run_at"] >= before + 1000 - 5
    assert job["state"] == "delayed"
    time.sleep(1.5)
    before = wall_ms()
    job = c.fetch(q)[0]
    assert job["id"] == leased
    assert job["lease_until"] >= before + 60000 - 5
    assert job["started_at"] >= before - 5


def test_the_earlier_due_job_comes_first(c, q):
    late = c.add(q, "late", DELAY=400)
    soon = c.add(q, "soon", DELAY=50)
    assert [c.fetch1(q)["id"], c.fetch1(q)["id"]] == [soon, late]


def test_expires_counts_from_run_at(c, q):
    job = c.get(c.add(q, "x", DELAY=50000, EXPIRES=30000))
    assert job["expires_at"] - job["run_at"] == 30000


def test_a_job_that_did_not_start_in_time_fails_as_expired(c, q):
    id = c.add(q, "x", EXPIRES=400)
    expires_at = c.get(id)["expires_at"]
    job = c.failed(id)
    assert "expired" in job["error"]
    assert job["finished_at"] >= expires_at
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
