# SPDX-License-Identifier: MIT
"""job:step and job:sleep: what is done is done, over errors, restarts and
kill -9; and adds of several queues at once, all or none."""
import json
import sqlite3

import pytest

from daemon import StartError, wait_until
from lua import fetch_json, script
from resp import Closed

FAST = "backoff = { type = 'fixed', delay = '5ms' }, max_stalled = 1000,"

SCRIPTS = {
    "flaky.lua": script("flaky", """
    local n = job:step("first", function()
      queue.add("first", job.id)
      return { n = 41, list = { 1, "zwei", json.null } }
    end)
    if job.error_count < 2 then error("not yet") end
    job:step("second", function() queue.add("second", job.id) end)
    return { n = n.n + 1, two = n.list[2], attempt = job.attempt }
""", FAST + "attempts = 5,"),
    "sleeper.lua": script("sleeper", """
    local before = job:step("before", function()
      queue.add("before", job.id)
      return crypto.uuid()
    end)
    job:sleep("1h")
    return { before = before, attempt = job.attempt }
""", FAST + "concurrency = 1,"),
    "nap.lua": script("nap", """
    for i = 1, 3 do job:sleep("10ms") end
    job:sleep("10ms", "last")
    return job.attempt
""", FAST),
    "doomed.lua": script("doomed", """
    job:step("once", function() queue.add("doomed.steps", job.id) end)
    return job:fail("no luck")
"""),
    "caught.lua": script("caught", """
    local ok, err = pcall(job.step, job, "bad", function()
      sleep("1ms")
      error("inside", 0)
    end)
    return { ok = ok, err = err,
             again = job:step("bad", function() return "good" end) }
"""),
    "many.lua": script("many", """
    local t = {}
    for i = 1, 50 do
      t[i] = job:step("step " .. i, function() return i * i end)
    end
    if job.error_count == 0 then error("again") end
    return t
""", FAST),
    "adder.lua": script("adder", """
    local ok, ids = pcall(queue.add_many, job.data)
    return { ok = ok, ids = ok and ids or nil,
             err = not ok and tostring(ids) or nil }
"""),
}

CONFIG = """
queues = ( { name = "tight.*"; max_waiting = 2; } );
"""


def steps_stored(d):
    db = sqlite3.connect("file:%s?mode=ro" % d.db, uri=True)
    try:
        return db.execute("SELECT count(*) FROM step").fetchone()[0]
    finally:
        db.close()


def result(job):
    return json.loads(job["result"])


# Steps.

def test_a_step_runs_once_over_errors(c):
    id = c.add("flaky", "null")
    assert result(c.completed(id)) == {"n": 42, "two": "zwei", "attempt": 3}
    assert c.fetch1("first")["payload"] == id
    assert c.fetch1("second")["payload"] == id
    assert c.fetch("first") == []
    assert c.fetch("second") == []


def test_fifty_steps(c):
    assert result(c.completed(c.add("many", "null"))) == \
        [i * i for i in range(1, 51)]


def test_an_error_in_a_step_can_be_caught(c):
    r = result(c.completed(c.add("caught", "null")))
    assert r == {"ok": False, "err": "inside", "again": "good"}


def test_retry_keeps_steps_and_fresh_does_not(c):
    id = c.add("doomed", "null")
    assert c.failed(id)["error"] == "no luck"
    assert c.fetch1("doomed.steps")["payload"] == id
    for words, runs in ((["JOB.RETRY", id], 0),
                        (["JOB.RETRY", id, "FRESH"], 1),
                        (["JOB.RETRY", id], 0)):
        assert c.call(*words) == "OK"
        assert c.failed(id)["error"] == "no luck"
        assert len(c.fetch("doomed.steps", COUNT=5)) == runs


def test_fresh_through_bellhopctl(c, bh):
    id = c.add("doomed", "null")
    c.failed(id)
    c.fetch1("doomed.steps")
    bh.ctl_ok("retry", id, "--fresh")
    assert c.fetch1("doomed.steps")["payload"] == id
    c.failed(id)


# Sleeps.

def asleep(c, id):
    return wait_until(lambda: c.state(id) == "delayed" and c.get(id),
                      "the job's sleep")


def test_a_sleep_frees_the_slot_and_promote_ends_it(c):
    first = c.add("sleeper", "null")
    job = asleep(c, first)
    assert job["attempt"] == 0
    assert job["run_at"] - job["started_at"] >= 3600000
    # Only one may run at once: so the first one does not.
    second = c.add("sleeper", "null")
    asleep(c, second)
    for id in (second, first):
        assert c.call("JOB.PROMOTE", id) == "OK"
        assert result(c.completed(id))["attempt"] == 1
    assert sorted(fetch_json(c, "before") for _ in range(2)) == \
        sorted([int(first), int(second)])
    assert c.fetch("before") == []


def test_sleeps_follow_one_another(c):
    job = c.completed(c.add("nap", "null"))
    assert result(job) == 1
    assert job["error_count"] == 0


def test_cancel_ends_a_sleep(c):
    id = c.add("sleeper", "null")
    asleep(c, id)
    assert c.call("JOB.CANCEL", id, "not any more") == "OK"
    job = c.failed(id)
    assert job["error"] == "cancelled: not any more"
    c.fetch1("before")
    # Retried, it wakes up where it was.
    assert c.call("JOB.RETRY", id) == "OK"
    assert result(c.completed(id))["attempt"] == 1
    assert c.fetch("before") == []


@pytest.mark.embedded("journal, bellhop.db")
def test_a_sleep_outlives_a_restart_and_kill_9(make):
    d = make(scripts={"sleeper.lua": SCRIPTS["sleeper.lua"]})
    c = d.client()
    id = c.add("sleeper", "null")
    due = asleep(c, id)["run_at"]
    d.restart()
    c = d.client()
    assert c.get(id)["state"] == "delayed"
    assert abs(c.get(id)["run_at"] - due) < 2000
    d.kill9()
    d.start()
    c = d.client()
    assert c.state(id) == "delayed"
    assert c.call("JOB.PROMOTE", id) == "OK"
    r = result(c.completed(id))
    assert r["attempt"] == 1
    assert len(r["before"]) == 36
    assert c.fetch1("before")["payload"] == id
    assert c.fetch("before") == []
    assert steps_stored(d) == 0


def test_a_script_may_change_while_its_job_sleeps(make):
    d = make(scripts={"s.lua": script(
        "s", "job:step('a', function() return 7 end) job:sleep('1h', 'n')")})
    c = d.client()
    id = c.add("s", "null")
    asleep(c, id)
    d.write_script("s.lua", script(
        "s", "local ok, e = pcall(job.step, job, 'n', print)\n"
        "return { a = job:step('a', error), kind = e }"))
    d.reload_ok()
    assert c.call("JOB.PROMOTE", id) == "OK"
    r = result(c.completed(id))
    assert r["a"] == 7
    assert "was a job:sleep" in r["kind"]


# An attempt that lost its job.

LOST = script("lost", """
    local who = job.error_count
    local v = job:step("slow", function()
      while who == 0 and queue.stats("gate").waiting == 0 do sleep("5ms") end
      return who
    end)
    queue.add("after", { who = who, v = v })
    return v
""")


@pytest.mark.embedded("journal, bellhop.db")
def test_a_step_of_a_lost_attempt_ends_the_run(make):
    d = make({"log_level": "debug"}, scripts={"lost.lua": LOST})
    c = d.client()
    id = c.add("lost", "null")
    wait_until(lambda: c.state(id) == "active", "the first run")
    db = sqlite3.connect("file:%s?mode=ro" % d.db, uri=True)
    token = wait_until(lambda: db.execute(
        "SELECT token FROM lease").fetchone(), "its token")[0]
    db.close()
    assert c.call("JOB.FAIL", id, "%016x" % (token & (1 << 64) - 1),
                  "stolen", "DELAY", "1") == "delayed"
    assert result(c.completed(id)) == 1
    assert fetch_json(c, "after") == {"who": 1, "v": 1}
    c.add("gate", "open")
    wait_until(lambda: "its end came too late" in d.err_text(),
               "the end of the first run")
    assert c.fetch("after") == []


# kill -9.

CRASHER = script("crasher", """
    local a = job:step("a", function() return crypto.uuid() end)
    queue.add("seen", { step = "a", v = a })
    local b = job:step("b", function() return crypto.uuid() end)
    queue.add("seen", { step = "b", v = b })
    job:sleep("2ms")
    local c = job:step("c", function() return crypto.uuid() end)
    queue.add("seen", { step = "c", v = c })
    return { a = a, b = b, c = c }
""", FAST)


def is_idle(stats):
    return stats["waiting"] + stats["active"] + stats["delayed"] == 0


def live(d, point, n):
    """One life under this crash point: (id or None, whether it died)."""
    d.env["BELLHOP_TEST_CRASH"] = "%s:%d" % (point, n)
    id = None
    try:
        d.start()
        c = d.client()
        id = c.add("crasher", "null")
        c.completed(id)
        died = False
        d.kill9()
    except (Closed, OSError):
        assert d.wait_exit() == -9
        died = True
    except StartError as e:
        assert e.status == -9, e
        died = True
    del d.env["BELLHOP_TEST_CRASH"]
    return id, died


@pytest.mark.embedded("journal, bellhop.db")
@pytest.mark.parametrize("point, stride", [
    ("begin", 1), ("apply", 4), ("commit-before", 1), ("commit-after", 1),
    ("ack", 1)])
def test_what_a_step_returned_stays_over_kill_9(make, point, stride):
    """Whatever a step has returned once, and what was done with it, is what
    it returns for ever, wherever the daemon dies."""
    d = make(scripts={"crasher.lua": CRASHER}, start=False)
    died, n = True, 1
    while died:
        id, died = live(d, point, n)
        d.start()
        c = d.client()
        if id is not None:
            values = result(c.completed(id))
            seen = [json.loads(j["payload"])
                    for j in c.list_all("seen", "waiting", COUNT=1000)]
            assert {s["step"] for s in seen} == {"a", "b", "c"}
            for s in seen:
                assert values[s["step"]] == s["v"], (point, n)
            c.call("QUEUE.PURGE", "seen", "waiting")
            assert c.get(id)["error_count"] == 0
        else:
            # It died before the answer, so there may be a job or not.
            wait_until(lambda: is_idle(c.stats("crasher")), "the work's end")
            c.call("QUEUE.PURGE", "seen", "waiting")
        d.stop()
        n += stride
        assert n < 200, "it never lives through"
    assert n > 3 * stride, "it hardly died"
    assert steps_stored(d) == 0
    d.start()
    r = d.ctl("doctor")
    assert r.status == 0, r


# Several adds as one.

def test_mput_adds_to_several_queues(c, q, named):
    r = c.call("JOB.MPUT", 3, q, "one", 0,
               named("x"), "two", 4, "DELAY", "60000", "GROUP", "g",
               q, b"\x00\xff", 2, "PRIORITY", "0")
    assert [(m["state"], m["duplicate"]) for m in r] == [
        ("waiting", False), ("delayed", False), ("waiting", False)]
    assert int(r[0]["id"]) < int(r[1]["id"]) < int(r[2]["id"])
    assert r[0]["queue"] == r[2]["queue"] == q
    assert c.get(r[1]["id"])["group"] == "g"
    assert c.fetch1(q)["id"] == r[2]["id"]
    assert c.fetch1(q)["payload"] == "one"


def test_mput_tells_duplicates(c, q):
    r = c.call("JOB.MPUT", 2, q, "1", 2, "UNIQUE", "k",
               q, "2", 4, "UNIQUE", "k", "MODE", "REPLACE")
    assert r[0]["id"] == r[1]["id"]
    assert [m["duplicate"] for m in r] == [False, True]
    assert c.get(r[0]["id"])["payload"] == "2"
    assert c.stats(q)["waiting"] == 1


def test_mput_in_resp2(bh, q):
    with bh.client(proto=2) as c:
        r = c.call("JOB.MPUT", 1, q, "x", 0)
    assert r[0][0::2] == ["id", "queue", "state", "duplicate"]


@pytest.mark.embedded("known difference: the first one of the chain is named")
def test_mput_all_or_none(c, q, named):
    tight = named("tight")
    words = ["JOB.MPUT", 3, q, "1", 0, tight, "2", 0, tight, "3", 0]
    c.call(*words)
    e = c.error(*words)
    assert e.word == "QUEUEFULL"
    assert "number 2 of 3" in e.text and tight in e.text
    assert c.stats(q)["waiting"] == 1
    assert c.stats(tight)["waiting"] == 2


@pytest.mark.parametrize("words, word, part", [
    (["0", "q", "x", "0"], "BADARG", "n: "),
    (["2", "q", "x", "0"], "BADARG", "n: "),
    (["1", "q y", "x", "0"], "BADARG", "number 1 of 1: queue"),
    (["1", "q", "x", "2", "DELAY"], "BADARG", "k: "),
    (["1", "q", "x", "1", "DELAY"], "ERR", "DELAY without its value"),
    (["1", "q", "x", "2", "DELAY", "-1"], "BADARG", "DELAY"),
    (["1", "q", "x", "0", "more"], "ERR", "1 words follow"),
    (["2", "q", "x", "0", "p", "y", "2", "COLOUR", "red"], "ERR",
     "number 2 of 2"),
])
def test_mput_refuses(c, words, word, part):
    e = c.error("JOB.MPUT", *words)
    assert e.word == word, e
    assert part in e.text, e
    assert c.stats("q")["waiting"] == 0


def test_mput_of_something_too_big(make, q):
    d = make({"max_payload": 1000})
    c = d.client()
    e = c.error("JOB.MPUT", 2, q, "x", 0, q, "y" * 1001, 0)
    assert e.word == "TOOBIG" and "number 2" in e.text
    assert c.stats(q)["waiting"] == 0


def test_mput_looks_at_each_queue_of_a_token(c, bh):
    token = c.call("BELLHOP", "TOKEN", "ADD", "mput", "producer", "mine.*")
    with bh.client() as other:
        other.call("AUTH", token)
        other.call("JOB.MPUT", 2, "mine.a", "x", 0, "mine.b", "y", 0)
        e = other.error("JOB.MPUT", 2, "mine.a", "x", 0, "yours", "y", 0)
    assert e.word == "NOPERM" and "yours" in e.text
    assert c.stats("mine.a")["waiting"] == 1
    assert c.stats("yours")["waiting"] == 0


@pytest.mark.embedded("known difference: a chain of thousands is slow")
def test_mput_of_many(c, q):
    words = ["JOB.MPUT", "5000"]
    for n in range(5000):
        words += [q + str(n % 7), str(n), "0"]
    ids = [m["id"] for m in c.call(*words)]
    assert len(set(ids)) == 5000
    assert sum(c.stats(q + str(n))["waiting"] for n in range(7)) == 5000


def test_add_many_from_a_script(c, q, named):
    tight = named("tight")
    jobs = [{"queue": q, "data": {"n": 1}},
            {"queue": tight, "data": "text", "delay": "1h", "priority": 1}]
    r = result(c.completed(c.add("adder", json.dumps(jobs))))
    assert r["ok"], r
    assert c.get(r["ids"][0])["payload"] == '{"n":1}'
    assert c.get(r["ids"][1])["state"] == "delayed"
    jobs = [{"queue": q, "data": 1}] + \
        [{"queue": tight, "data": 2} for _ in range(3)]
    r = result(c.completed(c.add("adder", json.dumps(jobs))))
    assert not r["ok"]
    assert "QUEUEFULL" in r["err"]
    assert c.stats(q)["waiting"] == 1
