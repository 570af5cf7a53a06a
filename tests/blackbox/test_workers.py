# SPDX-License-Identifier: MIT
"""The worker's words: FETCH, leases and tokens, DONE and its like, WAIT."""
import threading
import time

import pytest

from daemon import wait_until


def wall_ms():
    return int(time.time() * 1000)


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


def test_each_waiting_worker_gets_one_job(bh, c, q):
    workers = [bh.client() for _ in range(5)]
    for w in workers:
        w.send("JOB.FETCH", q, "BLOCK", 0)
        wait_until(lambda: c.parked(w, "JOB.FETCH"), "the FETCH")
    ids = [c.add(q, "x") for _ in workers]
    got = [w.read()[0]["id"] for w in workers]
    assert sorted(got, key=int) == ids
    for w in workers:
        w.close()


def test_a_worker_that_goes_away_takes_no_job(c, bh, q):
    gone = bh.client()
    gone.send("JOB.FETCH", q, "BLOCK", 0)
    wait_until(lambda: c.parked(gone, "JOB.FETCH"), "the FETCH")
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
        wait_until(lambda: c.parked(other, "JOB.WAIT"), "the WAIT")
        c.done(c.fetch1(q), "r")
        job = other.read()
        assert (job["state"], job["result"]) == ("completed", "r")
    assert c.get(id) is None
