# SPDX-License-Identifier: MIT
"""Commands that wait for a key, by clients as they are: who is served, what
ends a wait, and a queue that loses nothing whoever is killed."""
import multiprocessing
import os
import random
import signal
import time

import pytest

from daemon import wait_until
from resp import Client, Closed, RespError

OPTIONS = {"durability": "commit", "keys_durability": "commit"}


def waits(c, other, word):
    wait_until(lambda: c.parked(other, word), "%s to wait" % word)


@pytest.fixture
def others(bh):
    made = []

    def more(n=1, **kw):
        new = [bh.client(**kw) for _ in range(n)]
        made.extend(new)
        return new if n > 1 else new[0]

    yield more
    for c in made:
        c.close()


@pytest.mark.embedded("waiting clients have connections of their own")
def test_first_come_first_served(c, others, q):
    clients = others(5)
    for x in clients:
        x.send("BLPOP", q, "0")
        waits(c, x, "blpop")
    assert c.call("RPUSH", q, *"abcde") == 5
    assert [x.read() for x in clients] == [[q, v] for v in "abcde"]
    assert c.call("EXISTS", q) == 0


def test_one_push_serves_several_and_keeps_the_rest(c, others, q):
    a, b = others(2)
    a.send("BZPOPMIN", q, "0")
    waits(c, a, "bzpopmin")
    b.send("BZMPOP", "0", "2", "none" + q, q, "MAX", "COUNT", "2")
    waits(c, b, "bzmpop")
    c.call("ZADD", q, "1", "x", "2", "y", "3", "z", "4", "w")
    assert a.read() == [q, "x", 1.0]
    assert b.read() == [q, [["w", 4.0], ["z", 3.0]]]
    assert c.call("ZRANGE", q, "0", "-1") == ["y"]


def test_the_first_key_that_has_something(c, others, q):
    other = others()
    c.call("RPUSH", q + "b", "1")
    c.call("RPUSH", q + "c", "2")
    assert other.call("BRPOP", q + "a", q + "b", q + "c", "0") == \
        [q + "b", "1"]
    assert other.call("BRPOP", q + "a", q + "b", q + "c", "0") == \
        [q + "c", "2"]
    # Once it waits: the one that changed first, as in Redis 7.0.
    other.send("BRPOP", q + "a", q + "b", "0")
    waits(c, other, "brpop")
    c.pipe([["MULTI"], ["RPUSH", q + "b", "3"], ["RPUSH", q + "a", "4"],
            ["EXEC"]])
    assert other.read() == [q + "b", "3"]


def test_a_transaction_ends_a_wait_with_what_it_leaves(c, others, q):
    other = others()
    other.send("BLPOP", q, "0")
    waits(c, other, "blpop")
    c.pipe([["MULTI"], ["RPUSH", q, "x"], ["DEL", q], ["EXEC"]])
    assert c.parked(other, "blpop")
    c.pipe([["MULTI"], ["RPUSH", q, "x", "y"], ["LPOP", q], ["EXEC"]])
    assert other.read() == [q, "y"]


def test_in_a_transaction_nobody_waits(c, q):
    c.call("MULTI")
    for command in (["BLPOP", q, "0"], ["BLMOVE", q, q, "LEFT", "LEFT", "0"],
                    ["BZMPOP", "0", "1", q, "MIN"]):
        assert c.call(*command) == "QUEUED"
    assert c.call("EXEC") == [None, None, None]


@pytest.mark.parametrize("command", [
    ["BLPOP", "?", "0.05"], ["BRPOPLPUSH", "?", "to", "0.05"],
    ["BLMPOP", "0.05", "1", "?", "LEFT"], ["BZPOPMAX", "?", "0.05"]])
def test_a_wait_ends_in_time(c, q, command):
    began = time.monotonic()
    assert c.call(*[q if w == "?" else w for w in command]) is None
    # The turn that parks it may be some milliseconds old.
    assert time.monotonic() - began >= 0.04
    assert c.call("PING") == "PONG"


def test_who_has_gone_takes_nothing(c, others, q):
    gone, here = others(2)
    gone.send("BLPOP", q, "0")
    waits(c, gone, "blpop")
    here.send("BLMOVE", q, q + "to", "LEFT", "RIGHT", "0")
    waits(c, here, "blmove")
    number = gone.number
    gone.close()
    wait_until(lambda: "id=%d " % number not in c.call("CLIENT", "LIST"),
               "its end")
    c.call("RPUSH", q, "x")
    assert here.read() == "x"
    assert c.call("LRANGE", q + "to", "0", "-1") == ["x"]


def test_commands_behind_a_wait_come_after_it(c, others, q):
    other = others()
    other.send("BLPOP", q, "0")
    other.send("SET", q + "after", "1")
    other.send("GET", q + "after")
    waits(c, other, "blpop")
    assert c.call("EXISTS", q + "after") == 0
    c.call("RPUSH", q, "x")
    assert [other.read() for _ in range(3)] == [[q, "x"], "OK", "1"]


def test_a_killed_client_waits_no_more(c, others, q):
    other = others()
    other.send("BLPOP", q, "0")
    waits(c, other, "blpop")
    assert c.call("CLIENT", "KILL", "ID", str(other.number)) == 1
    with pytest.raises((Closed, ConnectionError)):
        other.read()
    c.call("RPUSH", q, "x")
    assert c.call("LRANGE", q, "0", "-1") == ["x"]


def test_the_end_of_the_daemon_ends_all_waits(make):
    d = make()
    c = d.client()
    clients = [d.client() for _ in range(4)]
    for x in clients:
        x.send("BLPOP", "l", "0")
        waits(c, x, "blpop")
    d.signal(signal.SIGTERM)
    for x in clients:
        answer = x.read()
        assert isinstance(answer, RespError) and answer.word == "BUSY", answer
    assert d.wait_exit() == 0


def test_roles(bh, c, others, q):
    token = bh.ctl_ok("token", "add", "t" + q, "--role", "reader").split()[-1]
    reader = others()
    reader.call("AUTH", token)
    assert reader.error("BLPOP", q, "0").word == "NOPERM"
    c.call("RPUSH", q, "x")
    assert reader.error("BLPOP", q, "0").word == "NOPERM"
    assert c.call("LLEN", q) == 1


@pytest.fixture
def redis():
    return pytest.importorskip("redis")


def test_python_redis(bh, redis, q):
    r = redis.Redis(unix_socket_path=bh.sock, decode_responses=True)
    r.rpush(q, "a", "b", "c")
    assert r.blpop([q + "none", q], timeout=1) == (q, "a")
    assert r.brpop(q, timeout=1) == (q, "c")
    assert r.brpoplpush(q, q + "2", timeout=1) == "b"
    assert r.blmove(q + "2", q, 1, "LEFT", "RIGHT") == "b"
    assert r.lrange(q, 0, -1) == ["b"]
    assert r.blpop(q + "none", timeout=1) is None
    r.zadd(q + "z", {"x": 1.5, "y": 2})
    assert r.bzpopmin(q + "z", timeout=1) == (q + "z", "x", 1.5)
    assert r.bzpopmax([q + "none", q + "z"], timeout=1) == \
        (q + "z", "y", 2.0)
    pipe = r.pipeline()
    pipe.rpush(q + "p", *range(1000))
    pipe.lrange(q + "p", 0, -1)
    pipe.zadd(q + "q", {"m%d" % n: n for n in range(1000)})
    pipe.zrange(q + "q", 990, -1, withscores=True)
    answers = pipe.execute()
    assert answers[1] == [str(n) for n in range(1000)]
    assert answers[3] == [("m%d" % n, float(n)) for n in range(990, 1000)]


# A queue of one's own: an element moves to a list of the worker's, and goes
# from there when it is done.

TASKS = 3000
WORKERS = 4


def worker(address, n, seed):
    """Until it is killed. What it has done is in the set "done"."""
    mine = "work:%d" % n
    rng = random.Random(seed)
    while True:
        try:
            with Client(address) as c:
                # What one before it has left.
                while c.call("LMOVE", mine, "tasks", "RIGHT", "RIGHT"):
                    pass
                while True:
                    task = c.call("BRPOPLPUSH", "tasks", mine, "1")
                    if task is None:
                        continue
                    c.call("SADD", "done", task)
                    if rng.random() < 0.002:
                        os.kill(os.getpid(), signal.SIGKILL)
                    c.call("LREM", mine, "1", task)
        except (OSError, Closed):
            time.sleep(0.02)


def spawn(context, d, n):
    p = context.Process(target=worker, daemon=True,
                        args=(d.sock, n, random.randrange(10**9)))
    p.start()
    return p


def push(d, first, n):
    """One at a time; what is not answered for sure is pushed again."""
    for i in range(first, first + n):
        while True:
            try:
                if not push.client:
                    push.client = Client(d.sock)
                push.client.call("LPUSH", "tasks", "t%d" % i)
                break
            except (OSError, Closed):
                push.client = None
                time.sleep(0.02)
                if d.dead():
                    return i
    return first + n


def test_a_queue_loses_nothing_whoever_is_killed(make):
    """Acknowledged means kept: daemon and workers are killed again and again,
    and every task that was pushed is done in the end."""
    d = make(OPTIONS)
    context = multiprocessing.get_context("fork")
    workers = [spawn(context, d, n) for n in range(WORKERS)]
    push.client = None
    try:
        pushed = 0
        for _ in range(6):
            pushed = push(d, pushed, TASKS // 6)
            victim = random.randrange(WORKERS)
            workers[victim].kill()
            d.kill9()
            d.start()
            push.client = None
            for n, p in enumerate(workers):
                if not p.is_alive():
                    p.join()
                    workers[n] = spawn(context, d, n)
        with d.client() as c:
            def done():
                for n, p in enumerate(workers):
                    if not p.is_alive():
                        p.join()
                        workers[n] = spawn(context, d, n)
                return c.call("SCARD", "done") == pushed and \
                    c.call("EXISTS", "tasks", *["work:%d" % n
                           for n in range(WORKERS)]) == 0
            wait_until(done, "all tasks to be done", 120)
            assert pushed == TASKS
            assert set(c.call("SMEMBERS", "done")) == \
                {"t%d" % i for i in range(TASKS)}
    finally:
        for p in workers:
            p.kill()
            p.join()
        if push.client:
            push.client.close()
