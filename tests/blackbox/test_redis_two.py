# SPDX-License-Identifier: MIT
"""Two daemons on one Redis."""
import re
import time

import pytest

import realredis
from daemon import Daemon, wait_until
from lua import script
from resp import Client

pytestmark = pytest.mark.embedded("it has backends of its own")

# A handler's lease is 30 s long; nobody frees it earlier when its daemon has
# died and does not come back.
LEASE = 120

CONFIG = """
backend = { type = "redis"; url = "unix:%s"; accept_loss = true; };
queues = (
  { name = "few"; max_active = 2; },
  { name = "rated"; rate = { limit = 3; per = "1h"; }; }
);
"""

# How many run at once anywhere, and the most there have been.
COUNTED = """
    local n = cache.incr("now." .. job.queue)
    if n > (cache.get("most." .. job.queue) or 0) then
      cache.set("most." .. job.queue, n)
    end
    sleep("50ms")
    cache.incr("now." .. job.queue, -1)
"""

SCRIPTS = {
    "few.lua": script("few", COUNTED, "concurrency = 8,"),
    "rated.lua": script("rated", "", "concurrency = 8,"),
    "slow.lua": script("slow", """
    cache.incr("begun." .. job.id)
    while cache.get("hold") == "yes" and job.attempt == 1 do
      sleep("20ms")
    end
    cache.set("done." .. job.id, cache.incr("order"))
""", "concurrency = 8, max_stalled = 5,"),
    "tick.lua": script("tick", ""),
    "told.lua": script("told", "return 1", """
  on_completed = function(job)
    cache.incr("callbacks")
    while cache.get("hold") == "yes" do sleep("20ms") end
    cache.incr("callbacks.done")
  end,
"""),
}


class Pair:
    def __init__(self):
        self.redis = realredis.start()
        self.daemons = []
        for _ in range(2):
            self.daemons.append(Daemon(None, CONFIG % self.redis.sock,
                                       SCRIPTS, plugins=("redis",)))

    def start(self):
        for d in self.daemons:
            d.start()

    def stop(self):
        try:
            for d in self.daemons:
                d.destroy()
        finally:
            self.redis.stop()


@pytest.fixture
def pair():
    p = Pair()
    try:
        p.start()
        yield p
        for d in p.daemons:
            d.check_stderr()
    finally:
        p.stop()


@pytest.fixture
def a(pair):
    with pair.daemons[0].client() as c:
        yield c


@pytest.fixture
def b(pair):
    with pair.daemons[1].client() as c:
        yield c


def count(c, queue, state):
    return c.stats(queue)[state]


def test_each_sees_what_the_other_does(a, b, q):
    first = a.add(q, "one")
    assert b.get(first)["payload"] == "one"
    job = b.fetch1(q)
    assert job["id"] == first and a.state(first) == "active"
    b.done(job, "fine")
    assert a.get(first)["result"] == "fine"
    with pytest.raises(Exception, match="STALE"):
        a.done(job, "late")
    b.call("QUEUE.PAUSE", q)
    second = a.add(q, "two")
    assert a.why(second)["gate"] == "paused"
    assert a.fetch(q) == []
    a.call("QUEUE.RESUME", q)
    assert b.fetch1(q)["id"] == second


def test_who_waits_is_woken_by_the_other(pair, a, b, q):
    with pair.daemons[0].client() as waiter, \
            pair.daemons[0].client() as getter:
        b.add(q, "ready, so that the queue is known")
        a.done(a.fetch1(q))
        waiter.send("JOB.FETCH", q, "BLOCK", 60000)
        id = b.add(q, "come")
        assert waiter.read()[0]["id"] == id
        getter.send("JOB.WAIT", id, 60000)
        b.call("JOB.CANCEL", id, "enough")
        assert getter.read()["state"] == "failed"


def test_max_active_holds_across_both(a, b):
    ids = [c.add("few", "x") for c in (a, b) for _ in range(15)]
    for id in ids:
        a.completed(id)
    assert int(a.call("GET", "cache:most.few")) <= 2
    assert int(a.call("GET", "cache:now.few")) == 0


def test_a_rate_holds_across_both(a, b):
    ids = [c.add("rated", "x") for c in (a, b) for _ in range(5)]
    wait_until(lambda: count(a, "rated", "completed") == 3, "three starts")
    assert count(b, "rated", "waiting") == len(ids) - 3
    assert a.why(ids[-1])["gate"] == "rate"


def test_a_schedule_ticks_once(a, b):
    a.call("SCHEDULE.SET", "s", "tick", "{}", "EVERY", 100, "OVERLAP",
           "queue")
    wait_until(lambda: count(a, "tick", "completed") >= 20, "20 ticks")
    b.call("SCHEDULE.DEL", "s")
    assert a.call("SCHEDULE.LIST") == []
    jobs = a.list_all("tick", "completed")
    made = sorted(j["created_at"] for j in jobs)
    # Two of one tick would have come together.
    assert all(y - x > 5 for x, y in zip(made, made[1:]))


def test_both_hear_all_news_in_order(pair, a, b, q):
    with pair.daemons[0].client() as one, pair.daemons[1].client() as two:
        for c in (one, two):
            c.call("BELLHOP", "EVENTS", q)
        for n in range(20):
            c = (a, b)[n % 2]
            id = c.add(q, str(n))
            other = (b, a)[n % 2]
            other.done(other.fetch1(q))
        heard = []
        for c in (one, two):
            heard.append([c.read() for _ in range(60)])
        assert heard[0] == heard[1]


def stats_of(redis):
    with Client(redis.sock, proto=2) as c:
        text = c.call("INFO", "commandstats")
    calls = dict(re.findall(r"cmdstat_(\S+?):calls=(\d+)", text))
    for name in ("info", "ping", "client|setinfo"):
        calls.pop(name, None)
    return calls


def test_nobody_polls(pair, a, b, q):
    with pair.daemons[0].client() as waiter:
        a.call("SCHEDULE.SET", "rare", "tick", "{}", "EVERY", 3600000)
        a.add(q, "later", DELAY=3600000)
        waiter.send("JOB.FETCH", q, "BLOCK", 0)

        def quiet():
            before = stats_of(pair.redis)
            time.sleep(1)
            return before == stats_of(pair.redis)
        wait_until(quiet, "quiet")
        before = stats_of(pair.redis)
        time.sleep(3)
        assert stats_of(pair.redis) == before


def test_the_jobs_of_a_dead_daemon_are_done_by_the_other(pair, a, b):
    a.call("SET", "cache:hold", "yes")
    with pair.daemons[0].client() as c:
        b.call("QUEUE.PAUSE", "slow")
        ids = [c.add("slow", str(n), GROUP="g%d" % (n % 3))
               for n in range(9)]
        b.call("QUEUE.RESUME", "slow")
        wait_until(lambda: count(b, "slow", "active") == 3, "a start each")
        told = c.add("told", "x")
        wait_until(lambda: b.call("GET", "cache:callbacks"), "the callback")
    pair.daemons[0].kill9()
    b.call("DEL", "cache:hold")
    for id in ids:
        job = b.finished(id, LEASE * 1000)
        assert job["state"] == "completed", job
    order = {id: int(b.call("GET", "cache:done." + id)) for id in ids}
    for g in range(3):
        line = [order[id] for n, id in enumerate(ids) if n % 3 == g]
        assert line == sorted(line)
    assert b.get(told)["state"] == "completed"
    wait_until(lambda: b.call("GET", "cache:callbacks.done"),
               "the callback of the dead daemon", LEASE)


def test_a_daemon_that_starts_again_frees_its_own(pair, a, b):
    a.call("SET", "cache:hold", "yes")
    b.call("QUEUE.PAUSE", "slow")
    ids = [a.add("slow", str(n)) for n in range(4)]
    b.call("QUEUE.RESUME", "slow")
    wait_until(lambda: count(b, "slow", "active") == 4, "starts")
    a.close()
    pair.daemons[0].kill9()
    pair.daemons[0].start()
    with pair.daemons[0].client() as again:
        again.call("DEL", "cache:hold")
        for id in ids:
            again.completed(id)
