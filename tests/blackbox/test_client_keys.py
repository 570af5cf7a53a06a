# SPDX-License-Identifier: MIT
"""What applications do with their Redis, through the clients that they use:
cache, session, limiter, list queue, pub/sub, stream group, transaction, script.
Each program runs on a real redis-server first: what passes there must pass
here."""
import os
import subprocess
import threading

import pytest

import realredis

redis = pytest.importorskip("redis")

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = os.environ.get("BELLHOP_NODE_MODULES",
                         os.path.join(HERE, "node_modules"))
CASES = ["cache", "session", "limiter", "queue", "pubsub", "stream",
         "transaction", "script"]


@pytest.fixture(scope="module", params=["redis", "bellhop"])
def where(request):
    """The unix socket of the one or the other."""
    if request.param == "bellhop":
        yield request.getfixturevalue("shared").sock
        return
    r = realredis.start()
    yield r.sock
    r.stop()


@pytest.mark.parametrize("program, module, more", [
    ("keys_ioredis.js", "ioredis", []),
    ("keys_node_redis.js", "redis", ["2"]),
    ("keys_node_redis.js", "redis", ["3"])])
def test_node(where, program, module, more):
    if not os.path.isdir(os.path.join(MODULES, module)):
        pytest.skip("no %s: npm install it by package.json, and name its"
                    " node_modules in BELLHOP_NODE_MODULES" % module)
    p = subprocess.run(
        ["node", os.path.join(HERE, "clients", program), where,
         "%s%s:" % (module, "".join(more))] + more, text=True,
        capture_output=True, timeout=120, check=False,
        env=dict(os.environ, NODE_PATH=MODULES))
    assert p.returncode == 0, p.stdout + p.stderr
    assert p.stdout.split() == CASES


@pytest.fixture
def r(where):
    with redis.Redis(unix_socket_path=where, decode_responses=True) as client:
        yield client


def test_cache(r):
    assert r.set("py:a", "v", ex=60) is True
    assert r.set("py:a", "w", nx=True) is None
    assert 0 < r.ttl("py:a") <= 60
    assert r.mget("py:a", "py:none") == ["v", None]
    assert r.incr("py:n", 41) == 41 and r.incrbyfloat("py:n", 0.5) == 41.5
    assert r.mset({"py:m1": 1, "py:m2": 2}) is True
    assert sorted(r.scan_iter("py:m*", count=2)) == ["py:m1", "py:m2"]
    assert r.getex("py:m1", px=60000) == "1" and r.pttl("py:m1") > 0
    assert r.delete("py:m1", "py:m2") == 2
    assert r.type("py:a") == "string"


def test_session(r):
    assert r.hset("py:s", mapping={"user": "ana", "visits": 1}) == 2
    assert r.expire("py:s", 3600)
    assert r.hincrby("py:s", "visits") == 2
    assert r.hgetall("py:s") == {"user": "ana", "visits": "2"}
    assert dict(r.hscan_iter("py:s")) == {"user": "ana", "visits": "2"}
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        r.lpush("py:s", "x")


def test_limiter(r):
    r.zadd("py:z", {"a": 1, "b": 2.5, "c": float("inf")})
    assert r.zrange("py:z", 0, -1, withscores=True) == [
        ("a", 1.0), ("b", 2.5), ("c", float("inf"))]
    assert r.zadd("py:z", {"a": 5}, gt=True, ch=True) == 1
    assert r.zremrangebyscore("py:z", "-inf", "(5") == 1
    assert r.zcard("py:z") == 2
    assert r.zpopmin("py:z") == [("a", 5.0)]
    assert r.zincrby("py:z", 1, "d") == 1.0


def test_queue(r, where):
    got = []

    def work():
        with redis.Redis(unix_socket_path=where) as c:
            while True:
                item = c.brpoplpush("py:todo", "py:doing", timeout=10)
                if item == b"end":
                    return
                got.append(int(item))
                c.lrem("py:doing", 1, item)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(200):
        r.lpush("py:todo", i)
    for _ in threads:
        r.lpush("py:todo", "end")
    for t in threads:
        t.join()
    assert sorted(got) == list(range(200))
    assert r.lrange("py:doing", 0, -1) == ["end"] * 4
    assert r.blpop(["py:none", "py:doing"], timeout=1) == ("py:doing", "end")
    assert r.blpop("py:none", timeout=1) is None


def test_pubsub(r):
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe("py:c1")
    p.psubscribe("py:c*")
    while p.get_message(timeout=0.05):
        pass
    assert r.publish("py:c1", "hello") == 2
    both = [None, None]
    for i in range(2):
        while both[i] is None:
            both[i] = p.get_message(timeout=10)
    assert sorted(m["type"] for m in both) == ["message", "pmessage"]
    assert {m["data"] for m in both} == {"hello"}
    assert r.pubsub_numsub("py:c1") == [("py:c1", 1)]
    assert "py:c1" in r.pubsub_channels("py:*")
    p.close()


def test_stream(r):
    assert r.xgroup_create("py:st", "g", mkstream=True) is True
    first = r.xadd("py:st", {"text": "hi"})
    r.xadd("py:st", {"text": "again"}, maxlen=1000)
    [[name, entries]] = r.xreadgroup("g", "w1", {"py:st": ">"}, block=5000)
    assert name == "py:st" and entries[0] == (first, {"text": "hi"})
    assert r.xack("py:st", "g", first) == 1
    assert r.xpending("py:st", "g")["pending"] == 1
    assert r.xautoclaim("py:st", "g", "w2", 0)[1][0][1] == {"text": "again"}
    assert r.xinfo_stream("py:st")["length"] == 2
    assert r.xinfo_consumers("py:st", "g")[0]["name"] == "w1"
    assert [e[0] for e in r.xrange("py:st")][0] == first


def test_transaction(r, where):
    with r.pipeline() as p:
        p.set("py:t", 1)
        p.incr("py:t")
        assert p.execute() == [True, 2]
        p.watch("py:t")
        with redis.Redis(unix_socket_path=where) as other:
            other.set("py:t", 10)
        p.multi()
        p.incr("py:t")
        with pytest.raises(redis.WatchError):
            p.execute()

    def count(p):
        p.multi()
        p.incr("py:t")

    assert r.transaction(count, "py:t") == [11]


def test_script(r):
    take = r.register_script("""
        local used = redis.call('INCRBY', KEYS[1], ARGV[1])
        if used == tonumber(ARGV[1]) then
          redis.call('EXPIRE', KEYS[1], 60)
        end
        return {used, redis.call('TTL', KEYS[1])}""")
    assert take(keys=["py:tok"], args=[3]) == [3, 60]
    assert take(keys=["py:tok"], args=[2])[0] == 5
    with r.lock("py:lock", timeout=60):
        assert not r.lock("py:lock", timeout=60).acquire(blocking=False)
    assert r.lock("py:lock", timeout=60).acquire(blocking=False)
