# SPDX-License-Identifier: MIT
"""MULTI, EXEC, DISCARD, WATCH: the same bytes as Redis 7 gives, atomicity, and
what is different on purpose."""
import socket

import pytest

import realredis
from daemon import wait_until
from lua import run, script
from resp import Closed

OPTIONS = {"keys_durability": "commit", "max_request": 65536, "max_payload": 16384,
           "max_arguments": 1000}

SCRIPTS = {
    "multi.lua": script("multi", """
      local ok, err = pcall(redis, "MULTI")
      local ok2, err2 = pcall(redis, "WATCH", "a")
      return { ok, tostring(err), ok2, tostring(err2) }
    """),
}

# One connection each; the answers must be the same.
SAME = """
EXEC
DISCARD
UNWATCH
EXEC a
WATCH
MULTI x
MULTI|MULTI|WATCH a|PING|PING hello|ECHO|EXEC
MULTI|PING|ECHO x|SET a 1|INCR a|APPEND a b|INCR a|GET a|SELECT 0|SELECT x|EXEC
MULTI|EXEC
MULTI|SET a 5|DISCARD|GET a|EXEC
MULTI|NOSUCH a b|SET a 7|EXEC|GET a
MULTI|SET a|EXEC|GET a
MULTI|GET a|EXEC x|EXEC
WATCH a|SET a 3|MULTI|GET a|EXEC|MULTI|GET a|EXEC
WATCH a|GET a|MULTI|GET a|EXEC
WATCH a|SET a 3|UNWATCH|MULTI|GET a|EXEC
WATCH a|SET a 3|MULTI|DISCARD|MULTI|GET a|EXEC
WATCH a|SET a 3|MULTI|NOSUCH|EXEC|MULTI|GET a|EXEC
WATCH nokey|MULTI|GET a|UNWATCH|EXEC
WATCH nokey|SET nokey 1|DEL nokey|MULTI|PING|EXEC
WATCH a a b|SET b 1|MULTI|PING|EXEC
WATCH a|EXPIRE a 1000|MULTI|PING|EXEC
WATCH a|PERSIST a|PERSIST a|MULTI|PING|EXEC
WATCH nokey|EXPIRE nokey 1000|DEL nokey|MULTI|PING|EXEC
SET a 1|SET c 1|WATCH a|RENAME c a|MULTI|PING|EXEC
SET c 1|WATCH c|RENAME c d|MULTI|PING|EXEC
SET a x|WATCH a|INCR a|APPEND a y|MULTI|PING|EXEC
SET a 1|WATCH a|FLUSHALL|MULTI|PING|EXEC
WATCH a|FLUSHALL|MULTI|PING|EXEC
WATCH a|MULTI|SET a 1|EXEC|MULTI|GET a|EXEC
MULTI|KEYS *|DBSIZE|TYPE a|EXPIRE a 100|TTL a|PERSIST a|EXEC
MULTI|PUBLISH nobody text|EXEC
MULTI|SET a 1|RESET|EXEC|GET a
MULTI|GET a|QUIT
"""


@pytest.fixture(scope="module")
def real():
    r = realredis.start()
    yield r
    r.stop()


@pytest.mark.parametrize("proto", [2, 3])
def test_the_same_answers_as_redis(bh, real, proto):
    bh.client().call("FLUSHALL")
    real_client = realredis.Raw(real.sock, proto)
    real_client.ask([["FLUSHALL"]])
    for line in SAME.strip().splitlines():
        commands = [c.split() for c in line.split("|")]
        with realredis.Raw(bh.sock, proto) as a, \
                realredis.Raw(real.sock, proto) as b:
            assert a.ask(commands) == b.ask(commands), line
    real_client.close()


def test_another_client_breaks_a_watch(bh, c):
    with bh.client() as other:
        c.call("SET", "w", 1)
        c.call("WATCH", "w")
        other.call("SET", "w", 2)
        c.call("MULTI")
        c.call("SET", "w", 3)
        assert c.call("EXEC") is None
        assert c.call("GET", "w") == "2"
        # And it is forgotten then.
        c.call("MULTI")
        c.call("SET", "w", 4)
        assert c.call("EXEC") == ["OK"]


def test_a_watched_key_that_expires_has_changed(bh, c):
    c.call("SET", "short", 1, "PX", 30)
    c.call("WATCH", "short")
    with bh.client() as other:
        wait_until(lambda: other.call("GET", "short") is None)
    c.call("MULTI")
    c.call("PING")
    assert c.call("EXEC") is None
    # One that nobody looks at is seen by EXEC itself.
    c.call("SET", "short", 1, "PX", 30)
    c.call("WATCH", "short")
    wait_until(lambda: c.call("PTTL", "short") < 0)
    c.call("MULTI")
    c.call("PING")
    assert c.call("EXEC") is None


@pytest.mark.embedded("limits of the own keyspace")
def test_an_evicted_key_has_changed(make):
    d = make({"cache_memory": "64KiB"})
    with d.client() as c:
        c.call("SET", "cache:old", "x" * 100)
        c.call("WATCH", "cache:old")
        with d.client() as other:
            for i in range(200):
                other.call("SET", "cache:%d" % i, "x" * 1000)
        c.call("MULTI")
        c.call("PING")
        assert c.call("EXEC") is None


def test_transfers_never_show_half(bh, c):
    """Readers always see the same sum, whoever writes."""
    c.call("MSET", "x", 1000, "y", 1000)
    writers = [bh.client() for _ in range(4)]
    reader = bh.client()
    for i in range(100):
        for n, w in enumerate(writers):
            w.send("MULTI")
            w.send("DECRBY", "x", i + n)
            w.send("INCRBY", "y", i + n)
            w.send("EXEC")
        x, y = reader.call("MGET", "x", "y")
        assert int(x) + int(y) == 2000
        reader.call("MULTI")
        reader.call("GET", "x")
        reader.call("GET", "y")
        x, y = reader.call("EXEC")
        assert int(x) + int(y) == 2000
        for w in writers:
            assert [w.read() for _ in range(3)] == ["OK", "QUEUED", "QUEUED"]
            assert len(w.read()) == 2
    for w in writers + [reader]:
        w.close()


def test_what_exec_has_answered_is_kept(make):
    d = make({"keys_durability": "commit"})
    with d.client() as c:
        for i in range(50):
            c.call("MULTI")
            c.call("SET", "a", i)
            c.call("SET", "b", i)
            c.call("DEL", "c")
            c.call("EXEC")
    d.kill9()
    d.start()
    with d.client() as c:
        assert c.call("MGET", "a", "b") == ["49", "49"]


def test_a_client_that_goes_leaves_nothing(bh, c):
    for _ in range(20):
        with bh.client() as other:
            other.call("WATCH", "gone", "and", "more")
            other.call("MULTI")
            other.call("SET", "gone", 1)
    assert c.call("GET", "gone") is None
    assert c.call("SET", "gone", 2) == "OK"


def test_messages_of_a_transaction_are_told_after_it(bh, c):
    with bh.client() as sub:
        sub.call("SUBSCRIBE", "news") if "SUBSCRIBE" in commands(c) else \
            pytest.skip("no SUBSCRIBE over RESP")
        c.call("MULTI")
        c.call("SET", "told", 1)
        c.call("PUBLISH", "news", "hello")
        assert c.call("EXEC") == ["OK", 1]
        assert sub.read() == ["message", "news", "hello"]


def commands(c):
    return {row[0].upper() for row in c.call("COMMAND")}


def test_limits_count_inside(c):
    c.call("MULTI")
    c.call("CL.THROTTLE", "multi:limit", 1, 1, 3600)
    c.call("CL.THROTTLE", "multi:limit", 1, 1, 3600)
    c.call("CL.THROTTLE", "multi:limit", 1, 1, 3600)
    c.call("CL.THROTTLE", "multi:limit", "x", 1, 3600)
    first, second, third, bad = c.call("EXEC")
    assert [first[0], second[0], third[0]] == [0, 0, 1]
    assert bad.word == "ERR"


@pytest.mark.parametrize("command", [
    ["JOB.ADD", "q", "x"], ["QUEUE.LIST"], ["QUEUE.PAUSE", "q"],
    ["SCHEDULE.LIST"], ["JOB.GET", "1"], ["MONITOR"], ["BELLHOP", "STATUS"],
    ["LIMIT.TAKE", "k", "1", "1", "1", "1", "1"], ["AUTH", "x"],
])
def test_what_is_no_key_command_is_refused_by_name(c, command):
    c.call("MULTI")
    e = c.error(*command)
    assert e.line == "ERR %s is not allowed inside MULTI" % command[0]
    assert c.error("EXEC").word == "EXECABORT"


def test_what_is_queued_has_limits(c):
    c.call("MULTI")
    for _ in range(6):
        c.call("SET", "big", "x" * 10000)
    e = c.error("SET", "big", "x" * 10000)
    assert e.word == "TOOBIG" and "max_request" in e.text
    assert c.error("EXEC").word == "EXECABORT"
    c.call("MULTI")
    for _ in range(333):
        c.call("SET", "a", "1")
    e = c.error("SET", "a", "1")
    assert e.word == "TOOBIG" and "max_arguments" in e.text
    c.call("DISCARD")
    assert c.call("GET", "big") is None


@pytest.mark.embedded("limits of the own keyspace")
def test_a_client_watches_only_so_many(c):
    for i in range(11):
        c.send("WATCH", *["%d.%d" % (i, k) for k in range(990)])
    answers = [c.read() for _ in range(11)]
    assert answers[:10] == ["OK"] * 10
    assert "too many watched keys" in answers[10].text
    c.call("SET", "0.1", 1)
    c.call("MULTI")
    assert c.call("EXEC") == []


@pytest.mark.embedded("limits of the own keyspace")
def test_full_memory_refuses_the_whole(make):
    d = make({"keys_memory": "64KiB"})
    with d.client() as c:
        for i in range(100):
            if c.pipe([["SET", "k%d" % i, "x" * 1000]])[0] != "OK":
                break
        c.call("MULTI")
        c.call("DEL", "k0")
        c.call("SET", "more", "x")
        assert c.error("EXEC").line == \
            "EXECABORT Transaction discarded because of: OOM command not" \
            " allowed when used memory > 'maxmemory'."
        assert c.call("EXISTS", "k0") == 1
        c.call("MULTI")
        c.call("DEL", "k0")
        c.call("SET", "cache:x", "y")
        assert c.call("EXEC") == [1, "OK"]


def test_handlers_have_no_transactions(c):
    ok, err, ok2, err2 = run(c, "multi")
    assert (ok, ok2) == (False, False)
    assert "no command of the keyspace" in err
    assert "no command of the keyspace" in err2


def test_client_list_shows_it(bh, c):
    with bh.client() as other:
        c.call("MULTI")
        c.call("PING")
        me = [x for x in other.call("CLIENT", "LIST").splitlines()
              if " multi=1 " in x]
        assert len(me) == 1 and " flags=x " in me[0]
        c.call("DISCARD")


def test_who_hangs_up_while_waiting_hears_nothing(bh):
    """As Redis: the connection just ends."""
    with bh.client() as other:
        for command in (["BLPOP", "none", "0"],
                        ["XREAD", "BLOCK", "0", "STREAMS", "none", "$"]):
            with bh.client(proto=2) as client:
                client.send("PING")
                client.send(*command)
                client.sock.shutdown(socket.SHUT_WR)
                assert client.read() == "PONG"
                with pytest.raises(Closed):
                    client.read()
        assert other.call("RPUSH", "none", "x") == 1


@pytest.mark.embedded("the answers' bounds are the server's")
def test_an_answer_that_nobody_could_get_is_an_error(make):
    """Shared strings and tables make small things big: what has more than
    max_output is not made, and what was to be written is."""
    d = make({"max_output": "1MiB", "eval_time": "5s"})
    big = "has more than 1048576 bytes (max_output)"
    with d.client() as c:
        c.call("SET", "k", "x" * 100000)
        c.call("HSET", "h", "f", "x" * 100000)
        c.call("SADD", "s", "x" * 1000)
        assert big in c.error("MGET", *["k"] * 30).line
        assert big in c.error("HMGET", "h", *["f"] * 9000).line
        assert big in c.error("SRANDMEMBER", "s", -1000000000).line
        c.call("MULTI")
        for _ in range(30):
            c.call("GETRANGE", "k", 0, -1)
            c.call("INCR", "n")
        assert big in c.error("EXEC").line
        assert c.call("GET", "n") == "30"
        for text in ["local t = {} for i = 1, 120 do t = {t, t} end return t",
                     "local s, t = redis.call('GET', 'k'), {}"
                     " for i = 1, 100 do t[i] = s end return t"]:
            assert "the answer is too big" in c.error("EVAL", text, 0).line
        assert big in c.error("EVAL", "return redis.pcall('SRANDMEMBER', 's',"
                              " '-1000000000')", 0).line
        assert len(c.call("GET", "k")) == 100000
