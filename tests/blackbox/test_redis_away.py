# SPDX-License-Identifier: MIT
"""Redis goes away and comes back: what was acknowledged is done, once."""
import shutil
import signal
import sqlite3
import os
import time

import pytest

import realredis
from daemon import Daemon, plugin_dir, wait_until
from lua import script
from resp import Client, RespError

pytestmark = pytest.mark.embedded("it has backends of its own")

CONFIG = """
plugins = [ "redis" ];
backend = { type = "redis"; url = "unix:%s"; };
queues = ( { name = "tight"; max_waiting = 3; } );
"""

# Says that it has run, in Redis; waits there when it is told to.
COUNT = """
    redis("INCR", "ran." .. job.body)
    while redis("GET", "hold") == "yes" do sleep("20ms") end
    return { attempt = job.attempt }
"""
SLOW = """
    redis("INCR", "begun." .. job.body)
    sleep("3s")
    return { attempt = job.attempt }
"""


@pytest.fixture
def redis():
    r = realredis.start(aof=True, options=["--appendfsync", "always"])
    yield r
    r.stop()


@pytest.fixture
def daemon(redis):
    d = Daemon(config=CONFIG % redis.sock, scripts={
        "count.lua": script("count", COUNT),
        "slow.lua": script("slow", SLOW)})
    d.options["plugin_dir"] = plugin_dir()
    d.write_config()
    d.start()
    yield d
    d.destroy()


def ready(d):
    with Client(d.sock) as c:
        return c.call("BELLHOP", "HEALTH")["ready"]


def away(d):
    wait_until(lambda: not ready(d), "Redis to be missed")


def back(d):
    wait_until(lambda: ready(d), "Redis to be back")


def ran(redis, keys):
    with redis.client() as c:
        return {k: c.call("GET", "ran.%s" % k) for k in keys}


def completed(c, ids):
    for i in ids:
        assert c.wait(i)["state"] == "completed", i


def test_jobs_are_taken_while_it_is_away_and_run_once(daemon, redis):
    c = daemon.client()
    ids = [c.add("count", "before")]
    completed(c, ids)
    redis.kill()
    away(daemon)
    names = ["a%d" % i for i in range(100)]
    ids = [c.add("count", n) for n in names[:50]]
    ids += c.madd("count", names[50:])
    assert len(set(ids)) == 100
    j = c.get(ids[3])
    assert (j["payload"], j["state"], j["queue"]) == ("a3", "waiting",
                                                      "count")
    assert c.why(ids[3])["gate"] == "backend"
    with pytest.raises(RespError, match="^BACKEND Redis is away"):
        c.call("QUEUE.STATS", "count")
    with pytest.raises(RespError, match="^BACKEND Redis is away"):
        c.call("SET", "durable", "1")
    with pytest.raises(RespError, match="^BACKEND"):
        c.call("JOB.REMOVE", ids[3])
    status = daemon.ctl_json("status")
    assert status["summary"].startswith("New jobs are kept on this machine")
    assert "Redis is away" in status["summary"]
    assert (status["accepting"], status["outbox_open"]) == (0, 1)
    assert status["outbox"] == 100
    redis.run()
    completed(c, ids)
    assert set(ran(redis, names).values()) == {"1"}
    back(daemon)
    assert daemon.err_text().count("Redis is away") == 1


def test_the_outbox_outlives_the_daemon(daemon, redis):
    c = daemon.client()
    redis.kill()
    away(daemon)
    ids = [c.add("count", "x%d" % i) for i in range(5)]
    daemon.kill9()
    daemon.start()
    c = daemon.client()
    ids += [c.add("count", "x%d" % i) for i in range(5, 10)]
    assert c.get(ids[0])["payload"] == "x0"
    assert len(set(ids)) == 10
    daemon.restart()
    redis.run()
    c = daemon.client()
    completed(c, ids)
    assert set(ran(redis, ["x%d" % i for i in range(10)]).values()) == {"1"}


def declared(c):
    return sorted(r["name"] for r in c.call("SCHEDULE.LIST"))


def test_schedules_of_scripts_are_set_once_it_is_back(daemon, redis):
    def declare(name):
        daemon.write_script("slow.lua", script("slow", SLOW,
            "schedule = {{ name = '%s', every = '9h' }}," % name))

    daemon.stop()
    declare("old")
    daemon.start()
    assert declared(daemon.client()) == ["old"]
    daemon.stop()
    redis.kill()
    declare("new")
    daemon.start()
    c = daemon.client()
    redis.run()
    back(daemon)
    wait_until(lambda: declared(c) == ["new"], "the schedule")
    redis.kill()
    away(daemon)
    declare("newer")
    daemon.ctl_ok("reload")
    redis.run()
    back(daemon)
    wait_until(lambda: declared(c) == ["newer"], "the reloaded schedule")


def test_order_stays_and_new_ones_come_behind(daemon, redis):
    c = daemon.client()
    redis.kill()
    away(daemon)
    for i in range(300):
        c.add("line", i, GROUP="g")
    redis.run()
    for i in range(300, 320):
        c.add("line", i, GROUP="g")
    seen = []
    while len(seen) < 320:
        j = c.fetch1("line", BLOCK=20000)
        seen.append(int(j["payload"]))
        c.done(j)
    assert seen == list(range(320))


def test_a_handler_at_work_keeps_its_result(daemon, redis):
    c = daemon.client()
    i = c.add("slow", "s")
    wait_until(lambda: ran_begun(redis, "s"), "the handler")
    redis.kill()
    away(daemon)
    # It ends meanwhile.
    wait_until(lambda: outbox(daemon) == 1, "its result in the outbox")
    redis.run()
    j = c.wait(i)
    assert (j["state"], j["attempt"]) == ("completed", 1)
    assert ran_begun(redis, "s") == "1"


def test_a_result_counts_though_the_lease_is_over(daemon, redis):
    c, w = daemon.client(), daemon.client()
    i = c.add("work", "late", LEASE=1000)
    j = w.fetch1("work", BLOCK=10000)
    redis.kill()
    away(daemon)
    w.done(j, "42")
    wait_until(lambda: time.time() * 1000 > j["lease_until"] + 100,
               "the end of the lease")
    w.send("JOB.FETCH", "work", "BLOCK", 2000)
    redis.run()
    assert c.wait(i)["state"] == "completed"
    assert w.read() is None


def ran_begun(redis, name):
    with redis.client() as c:
        return c.call("GET", "begun." + name)


def outbox(d):
    with sqlite3.connect(os.path.join(d.state, "outbox.db")) as db:
        return db.execute("SELECT count(*) FROM entry").fetchone()[0]


def test_a_worker_goes_on_after_an_outage(daemon, redis):
    c, w = daemon.client(), daemon.client()
    a = c.add("work", "a", LEASE=600000)
    j = w.fetch1("work", BLOCK=10000)
    redis.kill()
    away(daemon)
    # It was held through this daemon: its end is kept.
    w.done(j, "42")
    b = c.add("work", "b")
    w.send("JOB.FETCH", "work", "BLOCK", 30000)
    redis.run()
    k = w.read()[0]
    assert (k["id"], k["payload"]) == (b, "b")
    w.done(k)
    assert c.wait(a)["result"] == "42"
    assert c.wait(b)["attempt"] == 1


def test_unique_and_full_are_judged_when_it_is_back(daemon, redis):
    c = daemon.client()
    first = c.add("tight", "first", UNIQUE="k")
    redis.kill()
    away(daemon)
    twin = c.add("tight", "twin", UNIQUE="k")
    more = [c.add("tight", "m%d" % i) for i in range(5)]
    assert c.get(twin)["payload"] == "twin"
    redis.run()
    back(daemon)
    wait_until(lambda: outbox(daemon) == 0, "all to be forwarded")
    # The living job answers for it.
    assert c.get(twin)["id"] == first
    assert all(c.state(i) == "waiting" for i in more)
    with pytest.raises(RespError, match="QUEUEFULL"):
        c.add("tight", "one too many")


def test_a_stopped_redis_is_missed_and_found_again(daemon, redis):
    c = daemon.client()
    redis.signal(signal.SIGSTOP)
    away(daemon)
    ids = [c.add("count", "s%d" % i) for i in range(20)]
    redis.signal(signal.SIGCONT)
    completed(c, ids)
    assert set(ran(redis, ["s%d" % i for i in range(20)]).values()) == {"1"}


def test_cache_and_limits_work_alone(daemon, redis):
    c = daemon.client()
    redis.kill()
    away(daemon)
    assert c.call("SET", "cache:a", "1") == "OK"
    assert c.call("INCR", "cache:a") == 2
    assert c.call("GET", "cache:a") == "2"
    assert c.call("GET", "cache:none") is None
    assert c.call("CL.THROTTLE", "user", 2, 3, 60)[0] == 0
    with pytest.raises(RespError, match="^BACKEND"):
        c.call("MGET", "cache:a", "other")
    redis.run()
    back(daemon)


def test_a_flushed_redis_is_told_and_served(daemon, redis):
    c = daemon.client()
    c.add("lost", "x")
    redis.kill()
    away(daemon)
    kept = c.add("count", "kept")
    shutil.rmtree(os.path.join(redis.root, "appendonlydir"))
    redis.run()
    completed(c, [kept])
    assert "does not have the data that it had" in daemon.err_text()
    assert ran(redis, ["kept"]) == {"kept": "1"}


def test_after_a_flush_what_comes_is_kept(daemon, redis):
    c = daemon.client()
    first = c.add("q", "one")
    c.add("other", "one")
    with redis.client() as r:
        r.call("FLUSHALL")
    ids = [c.add("q", "two"), c.add("q", "three")]
    wait_until(lambda: "does not have the data" in daemon.err_text(),
               "the loss to be told")
    wait_until(lambda: "q" in c.call("QUEUE.LIST"), "the queue")
    daemon.restart()
    c = daemon.client()
    assert [c.get(i)["payload"] for i in ids] == ["two", "three"]
    assert c.get(first) is None
    assert int(c.add("q", "four")) > int(ids[1])


def test_without_memory_nothing_is_lost(daemon, redis):
    c = daemon.client()
    redis.kill()
    away(daemon)
    ids = [c.add("count", "o%d" % i) for i in range(20)]
    redis.options += ["--maxmemory", "600kb", "--maxmemory-policy",
                      "noeviction"]
    redis.run()

    with redis.client() as r:
        wait_until(lambda: outbox(daemon) == 20 and "memory" in
                   daemon.err_text() or outbox(daemon) == 0,
                   "the outbox to wait")
        r.call("CONFIG", "SET", "maxmemory", "0")
    completed(c, ids)
    assert set(ran(redis, ["o%d" % i for i in range(20)]).values()) == {"1"}


def test_the_first_start_needs_redis(redis):
    d = Daemon(config=CONFIG % redis.sock)
    d.options["plugin_dir"] = plugin_dir()
    d.write_config()
    redis.kill()
    _, err = d.refused()
    assert "the first start needs it" in err
    d.destroy()


def test_max_disk_bounds_the_outbox(daemon, redis):
    c = daemon.client()
    daemon.write_config({"max_disk": "200KiB"})
    daemon.restart()
    c = daemon.client()
    redis.kill()
    away(daemon)
    with pytest.raises(RespError, match="^DISKFULL.*max_disk"):
        for _ in range(200):
            c.add("count", "z" * 4096)
    redis.run()
    back(daemon)
    c.add("count", "fits again")
