# SPDX-License-Identifier: MIT
"""Streams with consumer groups, used by a client library as applications do,
and what of them outlives the daemon's death."""
import json
import threading

import pytest

import realredis
from daemon import wait_until
from lua import script
from resp import Client, Closed

redis = pytest.importorskip("redis")

OPTIONS = {"keys_durability": "commit"}
SCRIPTS = {"streams.lua": script("streams", """
  local key = "lua:" .. job.id
  local out = { made = stream.group(key, "g"), again = stream.group(key, "g") }
  out.none = #stream.read_group(key, "g", "me", { block = "20ms" })
  local id = stream.add(key, { text = "Hello", n = 42, list = { 1, 2 },
    digits = "42" })
  stream.add(key, { text = "two" }, { max_len = 10 })
  out.first = stream.range(key, nil, nil, { count = 1 })[1].data
  out.last = stream.range(key, nil, nil, { count = 1, reverse = true })[1].data
  local got = stream.read_group(key, "g", "me")
  out.got, out.same = #got, got[1].id == id
  out.pending = stream.pending(key, "g").consumers
  local claimed, more = stream.autoclaim(key, "g", "you", 0, { count = 1 })
  out.claimed, out.more = claimed[1].id == id, more == got[2].id
  out.deliveries = stream.pending(key, "g", { consumer = "you" })[1].deliveries
  out.deleted = stream.delete(key, id)
  local mine = stream.read_group(key, "g", "you", { pending = true })
  out.gone = mine[1].deleted
  out.acked = stream.ack(key, "g", got)
  out.read = stream.read({ [key] = "0" })[key][1].data
  out.nobody = stream.add("none", { a = 1 }, { create = false }) == nil
  out.trimmed, out.len = stream.trim(key, { max_len = 0 }), stream.len(key)
  local ok, err = pcall(stream.read_group, key, "none", "me")
  out.err = not ok and err
  ok, err = pcall(stream.add, key, {}, { maxlen = 1 })
  out.option = not ok and err
  return out
""")}


@pytest.fixture
def r(bh):
    with redis.Redis(unix_socket_path=bh.sock, decode_responses=True) as c:
        yield c


def test_stream_library_of_scripts(bh):
    with bh.client() as c:
        job = c.completed(c.add("streams", "{}"))
    out = json.loads(job["result"])
    assert "NOGROUP No such key" in out.pop("err")
    assert "no option maxlen" in out.pop("option")
    assert out == {
        "made": True, "again": False, "none": 0, "got": 2, "same": True,
        "first": {"text": "Hello", "n": 42, "list": [1, 2], "digits": "42"},
        "last": {"text": "two"}, "pending": {"me": 2}, "claimed": True,
        "more": True, "deliveries": 2, "deleted": 1, "gone": True,
        "acked": 2, "read": {"text": "two"}, "nobody": True, "trimmed": 1,
        "len": 0}


def test_a_script_waits_for_an_entry(make):
    bh = make(scripts={"wait.lua": script("wait", """
      local e = stream.read("later", "$", { block = "60s" })[1]
      return e and e.data
    """)})
    with bh.client() as c:
        id = c.add("wait", "{}")
        wait_until(lambda: c.call("XADD", "later", "*", "a", "b") and
                   c.state(id) == "completed", "the end of the wait")
        assert json.loads(c.completed(id)["result"]) == {"a": "b"}


def test_consumers_share_the_work(r, bh):
    """Each entry is delivered to exactly one of them, in order for each."""
    r.xgroup_create("work", "g", mkstream=True)
    got, stop = {}, threading.Event()

    def consume(name):
        mine = got[name] = []
        with redis.Redis(unix_socket_path=bh.sock,
                         decode_responses=True) as c:
            while not stop.is_set():
                for _, entries in c.xreadgroup("g", name, {"work": ">"},
                                               count=7, block=100):
                    for id, data in entries:
                        mine.append((id, int(data["n"])))
                        c.xack("work", "g", id)

    threads = [threading.Thread(target=consume, args=("c%d" % i,))
               for i in range(4)]
    for t in threads:
        t.start()
    try:
        for n in range(300):
            r.xadd("work", {"n": n}, maxlen=1000)
        wait_until(lambda: sum(map(len, got.values())) >= 300, "all entries")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert sorted(n for mine in got.values() for _, n in mine) == \
        list(range(300))
    for mine in got.values():
        assert [n for _, n in mine] == sorted(n for _, n in mine)
    assert r.xpending("work", "g")["pending"] == 0
    assert r.xinfo_groups("work")[0]["lag"] == 0


def test_nothing_acknowledged_is_lost(make):
    """kill -9 while entries come and go: each XADD that was answered is
    there, and what was not acknowledged is delivered again."""
    bh = make(OPTIONS)
    with Client(bh.sock) as c:
        c.call("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    added, acked, unsure = [], set(), set()

    def add():
        n = 0
        try:
            with Client(bh.sock) as c:
                while True:
                    n += 1
                    added.append((c.call("XADD", "s", "*", "n", str(n)), n))
        except (OSError, Closed):
            pass

    def take():
        try:
            with Client(bh.sock) as c:
                while True:
                    answer = c.call("XREADGROUP", "GROUP", "g", "me",
                                    "COUNT", "5", "BLOCK", "1000", "STREAMS",
                                    "s", ">")
                    for id, _ in answer["s"] if answer else []:
                        if int(id[-1]) % 2:
                            continue
                        unsure.add(id)
                        assert c.call("XACK", "s", "g", id) == 1
                        acked.add(id)
                        unsure.discard(id)
        except (OSError, Closed):
            pass

    threads = [threading.Thread(target=f) for f in (add, add, take)]
    for t in threads:
        t.start()
    wait_until(lambda: len(added) > 200 and len(acked) > 20, "some of it")
    bh.kill9()
    for t in threads:
        t.join()
    bh.start()
    with Client(bh.sock) as c:
        there = [id for id, _ in c.call("XRANGE", "s", "-", "+")]
        assert {id for id, _ in added} <= set(there)
        rest = c.call("XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", ">")
        again = c.call("XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", "0")
        pending = {id for id, _ in again["s"]}
        assert not pending & acked
        assert set(there) - acked - unsure <= pending
        if rest:
            assert {id for id, _ in rest["s"]} <= pending
        last = c.call("XADD", "s", "*", "n", "x")
        assert tuple(map(int, last.split("-"))) > \
            max(tuple(map(int, id.split("-"))) for id in there)


BLOCKED = [
    # What is sent, what ends the wait.
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "x", ">"],
     ["DEL", "x"]),
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "x", ">"],
     ["XGROUP", "DESTROY", "x", "g"]),
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "x", ">"],
     ["FLUSHALL"]),
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "x", "y",
      ">", ">"], ["XADD", "y", "5-5", "a", "b"]),
    (["XREADGROUP", "GROUP", "g", "new", "COUNT", "1", "BLOCK", "0",
      "STREAMS", "x", ">"], ["XADD", "x", "5-5", "a", "b"]),
    (["XREAD", "BLOCK", "0", "STREAMS", "x", "z", "$", "0"],
     ["XADD", "z", "5-5", "a", "b"]),
    (["XREAD", "BLOCK", "0", "STREAMS", "x", "4"],
     ["XADD", "x", "5-5", "a", "b"]),
    (["XREAD", "BLOCK", "50", "STREAMS", "x", "$"], ["PING"]),
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "50", "STREAMS", "x", ">"],
     ["PING"]),
    (["XREADGROUP", "GROUP", "g", "me", "BLOCK", "0", "STREAMS", "x", ">"],
     ["RENAME", "full", "x"]),
]


@pytest.fixture(scope="module")
def real():
    server = realredis.start()
    yield server
    server.stop()


@pytest.mark.embedded("nobody sees when it waits at the server")
@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("at", range(len(BLOCKED)))
def test_a_wait_ends_as_in_redis(bh, real, proto, at):
    answers = []
    for address in (bh.sock, real.sock):
        with realredis.Raw(address, proto) as a, Client(address) as b:
            b.call("FLUSHALL")
            for key in "xy":
                b.call("XGROUP", "CREATE", key, "g", "$", "MKSTREAM")
            b.call("XADD", "full", "7-7", "c", "d")
            b.call("XGROUP", "CREATE", "full", "g", "0")
            a.begin([BLOCKED[at][0]])
            if "50" not in BLOCKED[at][0]:
                wait_until(lambda: "cmd=" + BLOCKED[at][0][0].lower() in
                           b.call("CLIENT", "LIST").lower(), "the wait")
            b.call(*BLOCKED[at][1])
            answers.append(a.raw() +
                           b"".join(a.ask([["XINFO", "GROUPS", "x"]])))
    assert answers[0] == answers[1]
