# SPDX-License-Identifier: MIT
"""From the built-in store to Redis and back: nothing is lost, nothing comes
twice, whatever dies on the way."""
import random
import sqlite3
import subprocess
import time

import pytest

import realredis
from daemon import (Daemon, StartError, find_binary, plugin_dir,
                    wait_until)
from resp import RespError

pytestmark = pytest.mark.embedded("it has backends of its own")

HOUR = 3600 * 1000

REDIS = """
plugins = [ "redis" ];
backend = { type = "redis"; url = "unix:%s"; accept_loss = true; };
"""

STATES = ("waiting", "delayed", "active", "completed", "failed")
# What a move may change: leases count anew.
MOVING = {"lease_until"}


@pytest.fixture
def redis():
    r = realredis.start()
    yield r
    r.stop()


@pytest.fixture
def daemon():
    d = Daemon()
    yield d
    d.destroy()


def to_redis(d, redis):
    d.write_config({"plugin_dir": plugin_dir()}, REDIS % redis.sock)


def to_embedded(d):
    d.write_config(config="")


# What there is.

def fill_plain(c, n):
    for k in range(0, n, 500):
        c.call("JOB.MADD", "plain", 500, *range(k, k + 500))


def fill_states(c):
    """Some jobs of every state, with all that a job can have."""
    for i in range(30):
        c.call("JOB.ADD", "grouped", "g%d" % i, "GROUP", "g%d" % (i % 3),
               "PRIORITY", i % 10)
    for i in range(20):
        c.call("JOB.ADD", "later", "d%d" % i, "DELAY", HOUR + i * 1000,
               "EXPIRES", HOUR, "ATTEMPTS", 3)
    c.call("JOB.ADD", "later", "at", "AT", (int(time.time()) + 9999) * 1000)
    for i in range(40):
        c.call("JOB.ADD", "worked", "w%d" % i, "LEASE", HOUR, "BACKOFF",
               "FIXED", HOUR, "MAX_STALLED", 5)
    held = c.call("JOB.FETCH", "worked", "COUNT", 30, "WORKER", "ann",
                  "LEASE", HOUR)
    for i, j in enumerate(held[:24]):
        if i % 4 == 0:
            c.call("JOB.DONE", j["id"], j["token"], '{"n":%d}' % i)
        elif i % 4 == 1:
            c.call("JOB.FAIL", j["id"], j["token"], "no %d luck" % i, "FINAL")
        elif i % 4 == 2:
            c.call("JOB.FAIL", j["id"], j["token"], "again, \xe9")
        else:
            c.call("JOB.PROGRESS", j["id"], j["token"], "half")
    c.call("JOB.ADD", "unique", "u1", "UNIQUE", "one")
    c.call("JOB.ADD", "unique", "u2", "UNIQUE", "two", "TTL", HOUR)
    c.call("JOB.ADD", "follow", "f1", "UNIQUE", "k")
    c.call("JOB.FETCH", "follow", "LEASE", HOUR)
    c.call("JOB.ADD", "follow", "f2", "UNIQUE", "k", "MODE", "FOLLOW")
    c.call("JOB.ADD", "paused", "p")
    c.call("QUEUE.PAUSE", "paused")
    c.call("JOB.ADD", "held", "h")
    c.call("QUEUE.HOLD", "held", HOUR, "a 429")
    c.call("SCHEDULE.SET", "nightly", "plain", "tick", "CRON", "0 6 * * *",
           "TZ", "Europe/Lisbon", "PRIORITY", 3, "GROUP", "s")
    c.call("SCHEDULE.SET", "often", "plain", "tock", "EVERY", 9 * HOUR)
    return held[24:]


def fill_keys(c):
    c.call("SET", "text", b"\x00\xff bytes")
    c.call("SET", "short", "lived", "PX", HOUR)
    c.call("HSET", "hash", "a", "1", "b", "\x00")
    c.call("RPUSH", "list", "x", "y", "", "x")
    c.call("SADD", "set", "1", "2", "three")
    c.call("ZADD", "zset", "1.5", "a", "-inf", "b", "0.1", "c")
    for i in range(2000):
        c.call("SET", "many:%d" % i, i)


def jobs_of(c, queue, state):
    cursor, jobs = "0", []
    while True:
        cursor, page = c.call("JOB.LIST", queue, state, "CURSOR", cursor,
                              "COUNT", 1000)
        jobs += page
        if str(cursor) == "0":
            return jobs


def jobs_now(c):
    """id → everything that can be seen of it."""
    found = {}
    for queue in c.call("QUEUE.LIST"):
        for state in STATES:
            for j in jobs_of(c, queue, state):
                assert j["id"] not in found, "twice: %r" % j
                found[j["id"]] = {k: v for k, v in j.items()
                                  if k not in MOVING}
    return found


def queues_now(c):
    return {q: {k: v for k, v in c.call("QUEUE.STATS", q).items()
                if k in STATES or k in (
                    "paused", "paused_by", "held_reason", "failed_total",
                    "processed_total", "stalled_total")}
            for q in c.call("QUEUE.LIST")}


def schedules_now(c):
    return {s["name"]: s for s in c.call("SCHEDULE.LIST")}


def keys_now(c):
    show = {"string": ("GET",), "hash": ("HGETALL",),
            "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",),
            "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
            "stream": ("XRANGE", "-", "+")}
    found = {}
    for key in c.call("KEYS", "*"):
        if key.startswith("bh:"):
            continue
        kind = c.call("TYPE", key)
        verb = show[kind]
        value = c.call(verb[0], key, *verb[1:])
        if kind == "set":
            value = sorted(value)
        found[key] = (kind, value, c.call("PTTL", key) > 0)
    return found


def everything(c):
    return {"jobs": jobs_now(c), "queues": queues_now(c),
            "schedules": schedules_now(c), "keys": keys_now(c)}


def same(before, after):
    for what in before:
        for key, value in before[what].items():
            assert after[what].get(key) == value, (what, key)
        assert set(after[what]) == set(before[what]), what


def moved_all(d):
    """Nothing is here any more; the log does not tell after a kill."""
    wait_until(lambda: not any(rows(d, t) for t in ("job", "key", "schedule")),
               "the end of the move", timeout=120)


def move_down(d):
    """The way back, once the way up has ended."""
    def has_moved():
        r = d.ctl("migrate", "--to", "embedded", "--keys", "*")
        assert r.status == 0 or "still moving" in r.err, r
        return r.status == 0

    wait_until(has_moved, "the way back", timeout=120)


def order_of(c, queue):
    """The payloads in the order in which they are handed out."""
    out = []
    while True:
        jobs = c.call("JOB.FETCH", queue, "COUNT", 100)
        if not jobs:
            return out
        for j in jobs:
            out.append(j["payload"])
            c.call("JOB.DONE", j["id"], j["token"])


def test_up_and_down_everything_is_as_it_was(daemon, redis):
    daemon.start()
    c = daemon.client()
    fill_plain(c, 2000)
    held = fill_states(c)
    fill_keys(c)
    before = everything(c)
    daemon.stop()

    to_redis(daemon, redis)
    daemon.start()
    moved_all(daemon)
    c = daemon.client()
    same(before, everything(c))
    # A worker that was at it goes on with its token.
    j = held.pop()
    assert c.call("JOB.DONE", j["id"], j["token"]) == "OK"
    assert int(c.call("JOB.ADD", "plain", "new")) > max(
        int(i) for i in before["jobs"])
    with sqlite3.connect(daemon.db) as db:
        assert db.execute("SELECT count(*) FROM job").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM key").fetchone() == (0,)
    before = everything(c)

    assert "--keys" in daemon.ctl("migrate", "--to", "embedded").err
    out = daemon.ctl_ok("migrate", "--to", "embedded", "--keys", "*")
    assert "%d jobs" % len(before["jobs"]) in out
    for late in (["JOB.ADD", "plain", "late"], ["JOB.GET", 1],
                 ["QUEUE.PAUSE", "plain"], ["QUEUE.LIST"],
                 ["SCHEDULE.SET", "late", "plain", "x", "EVERY", HOUR],
                 ["SCHEDULE.LIST"], ["SET", "late", "1"], ["GET", "text"],
                 ["PUBLISH", "late", "1"], ["LIMIT.TAKE", "l", 1, 1, 5, 1000, 1]):
        with pytest.raises(RespError, match="BACKEND everything.*embedded"):
            c.call(*late)
    status = daemon.ctl_json("status")
    assert not status["ready"] and not status["accepting"]
    assert "set backend.type" in status["summary"]
    assert redis.client().call("KEYS", "*") in ([], None)
    daemon.stop()
    to_embedded(daemon)
    daemon.ctl_ok("doctor", "--state-dir", daemon.state)
    daemon.start()
    c = daemon.client()
    same(before, everything(c))
    assert order_of(c, "plain") == ["%d" % i for i in range(2000)] + ["new"]


def killed_often(d, times, seed):
    """Starts it and kills it, each time a little later."""
    dice = random.Random(seed)
    for n in range(times):
        d.spawn()
        time.sleep(0.05 + n * 0.15 + dice.random() * 0.1)
        d.kill9()


def test_killed_on_the_way_nothing_is_lost_or_twice(daemon, redis):
    daemon.start()
    c = daemon.client()
    fill_plain(c, 10000)
    fill_states(c)
    fill_keys(c)
    before = everything(c)
    daemon.stop()

    to_redis(daemon, redis)
    killed_often(daemon, 5, 1)
    daemon.start()
    moved_all(daemon)
    c = daemon.client()
    same(before, everything(c))

    down = subprocess.Popen(
        [find_binary("bellhopctl"), "--socket", daemon.sock, "--config",
         daemon.conf, "migrate", "--to", "embedded", "--keys", "*"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: rows(daemon, "job") > 0, "the first jobs down here")
    daemon.kill9()
    down.wait()
    with pytest.raises(StartError, match="on their way back"):
        to_embedded(daemon)
        daemon.start()
    to_redis(daemon, redis)
    killed_often(daemon, 4, 2)
    daemon.start()
    move_down(daemon)
    daemon.stop()
    to_embedded(daemon)
    daemon.ctl_ok("doctor", "--state-dir", daemon.state)
    daemon.start()
    c = daemon.client()
    same(before, everything(c))
    assert order_of(c, "plain") == ["%d" % i for i in range(10000)]


def rows(d, table):
    try:
        with sqlite3.connect("file:%s?mode=ro" % d.db, uri=True) as db:
            return db.execute("SELECT count(*) FROM " + table).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_jobs_run_on_while_the_rest_moves(daemon, redis):
    daemon.start()
    c = daemon.client()
    for k in range(0, 20000, 1000):
        c.call("JOB.MADD", "plain", 1000, *range(k, k + 1000))
    kept = c.call("JOB.ADD", "failed", "f")
    j = c.fetch1("failed")
    c.fail(j, "for good", FINAL=True)
    daemon.stop()
    to_redis(daemon, redis)
    daemon.start()
    # The doors are open; this one comes last.
    c = daemon.client()
    new = c.add("plain", "new")
    assert c.get(kept)["state"] == "failed"
    assert c.get(new)["payload"] == "new"
    seen = []
    while len(seen) < 20001:
        jobs = c.fetch("plain", COUNT=500, BLOCK=20000)
        seen += [j["payload"] for j in jobs]
        c.pipe([("JOB.DONE", j["id"], j["token"]) for j in jobs])
    assert seen == ["%d" % i for i in range(20000)] + ["new"]


def test_dry_run_counts(daemon, redis):
    daemon.start()
    c = daemon.client()
    fill_states(c)
    fill_keys(c)
    c.call("SET", "cache:not", "counted")
    jobs = len(jobs_now(c))
    keys = len(keys_now(c)) - 1
    counts = daemon.ctl_json("migrate", "--to", "redis", "--dry-run")
    assert counts == {"jobs": jobs, "schedules": 2, "keys": keys,
                      "other_keys": 0, "streams": 0}
    assert "already" in daemon.ctl("migrate", "--to", "embedded").err
    assert "backend" in daemon.ctl("migrate", "--to", "redis").err
    daemon.stop()
    to_redis(daemon, redis)
    daemon.start()
    moved_all(daemon)
    daemon.client().call("XADD", "many:stream", "*", "a", "1")
    counts = daemon.ctl_json("migrate", "--to", "embedded", "--dry-run",
                             "--keys", "many:*")
    assert counts == {"jobs": jobs, "schedules": 2, "keys": 2000,
                      "other_keys": keys - 2000, "streams": 1}
    # Those that stay are served by Redis alone.
    daemon.ctl_ok("migrate", "--to", "embedded", "--keys", "many:*")
    assert redis.client().call("GET", "short") == "lived"
    assert redis.client().call("EXISTS", "many:7") == 0


def stream_now(c):
    info = c.call("XINFO", "STREAM", "s")
    keep = ("length", "last-generated-id", "max-deleted-entry-id",
            "entries-added")
    groups = [{k: g[k] for k in ("name", "consumers", "pending",
                                 "last-delivered-id", "entries-read")}
              for g in c.call("XINFO", "GROUPS", "s")]
    return ({k: info[k] for k in keep}, groups,
            c.call("XRANGE", "s", "-", "+"),
            [(p[0], p[1], p[3]) for p in
             c.call("XPENDING", "s", "g", "-", "+", 10)],
            c.call("XRANGE", "empty", "-", "+"),
            c.call("XINFO", "STREAM", "empty")["last-generated-id"])


def test_streams_go_up_with_their_groups(daemon, redis):
    daemon.start()
    c = daemon.client()
    for i in range(5):
        c.call("XADD", "s", "%d-1" % (i + 1), "n", i, "bin", b"\x00\xff")
    c.call("XGROUP", "CREATE", "s", "g", "0")
    c.call("XGROUP", "CREATE", "s", "other", "$")
    c.call("XREADGROUP", "GROUP", "g", "ann", "COUNT", 2, "STREAMS", "s", ">")
    c.call("XREADGROUP", "GROUP", "g", "bob", "COUNT", 1, "STREAMS", "s", ">")
    c.call("XACK", "s", "g", "1-1")
    c.call("XDEL", "s", "5-1")
    c.call("XADD", "empty", "7-7", "a", "b")
    c.call("XDEL", "empty", "7-7")
    before = stream_now(c)
    daemon.stop()
    to_redis(daemon, redis)
    daemon.start()
    moved_all(daemon)
    assert stream_now(daemon.client()) == before


def test_another_instance_is_in_the_way(daemon, redis):
    to_redis(daemon, redis)
    daemon.start()
    other = Daemon()
    try:
        to_redis(other, redis)
        other.start()
        r = daemon.ctl("migrate", "--to", "embedded")
        assert "other instances" in r.err
        # Nothing has happened.
        i = daemon.client().add("q", "x")
        assert other.client().get(i)["payload"] == "x"
        assert daemon.client().fetch1("q")["id"] == i
        other.stop()
        daemon.ctl_ok("migrate", "--to", "embedded")
    finally:
        other.destroy()


def test_jobs_of_two_machines_get_ids_of_their_own(daemon, redis):
    other = Daemon()
    try:
        for d in daemon, other:
            d.start()
            c = d.client()
            for i in range(50):
                c.add("q", "%s %d" % (d.root, i))
            d.stop()
            to_redis(d, redis)
            d.start()
            moved_all(d)
        jobs = jobs_now(daemon.client())
        assert len(jobs) == 100
        assert len({j["payload"] for j in jobs.values()}) == 100
        for i, j in jobs.items():
            assert other.client().get(i)["payload"] == j["payload"]
        assert "new ids" in other.err_text()
    finally:
        other.destroy()
