# SPDX-License-Identifier: MIT
"""The operator's words for a job, bad arguments, lists."""
import pytest

from daemon import wait_until
from resp import RespError

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


def test_errors_are_not_exceptions_of_the_protocol(c, q):
    # One pipeline with an error in its middle: the rest is answered.
    r = c.pipe([["JOB.ADD", q, "a"], ["JOB.GET", "x"], ["PING"]])
    assert r[0].isdigit() and r[2] == "PONG"
    assert isinstance(r[1], RespError) and r[1].word == "BADARG"
