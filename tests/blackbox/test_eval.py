# SPDX-License-Identifier: MIT
"""EVAL: what scripts answer is what Redis 7 answers, byte for byte; they are
atomic, are cut into slices, and none of them brings the daemon down."""
import hashlib
import os
import re
import threading

import pytest

import realredis
from daemon import wait_until
from resp import RespError, encode

OPTIONS = {"eval_time": "300ms", "script_memory": "8MiB",
           "keys_durability": "commit"}

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "eval_corpus.txt")


def corpus():
    with open(CORPUS, encoding="utf-8") as f:
        return [s.strip("\n") for s in f.read().split("\n---\n") if s.strip()]


@pytest.fixture(scope="module")
def real():
    r = realredis.start()
    yield r
    r.stop()


def sha(script):
    return hashlib.sha1(script.encode()).hexdigest()


def ask_both(bh, real, commands, proto=2):
    with realredis.Raw(bh.sock, proto) as a, \
            realredis.Raw(real.sock, proto) as b:
        return a.ask(commands), b.ask(commands)


def test_the_same_answers_as_redis(bh, real):
    scripts = corpus()
    with bh.client() as c:
        if "zadd" not in {row[0] for row in c.call("COMMAND")}:
            scripts = [s for s in scripts
                       if not re.search("'z[a-z]+'|'Z[A-Z]+'", s)]
    assert len(scripts) >= 150
    commands = [["FLUSHALL"]] + [["EVAL", s, "1", "k", "a1"] for s in scripts]
    ours, theirs = ask_both(bh, real, commands)
    different = [(s, o, t) for s, o, t in zip(["FLUSHALL"] + scripts, ours,
                                              theirs) if o != t]
    assert not different, "%d differ, the first: %s\nhere:  %r\nRedis: %r" % (
        (len(different),) + different[0])


@pytest.mark.parametrize("proto", [2, pytest.param(
    3, marks=pytest.mark.embedded("the server is asked in RESP2"))])
def test_the_commands_answer_as_redis(bh, real, proto):
    known = "return 'known'"
    commands = [
        ["FLUSHALL"], ["SCRIPT", "FLUSH"], ["SCRIPT", "FLUSH", "NOW"],
        ["EVAL", "return 1", "x"], ["EVAL", "return 1", "-1"],
        ["EVAL", "return 1", "1"], ["EVAL", "return 1"],
        ["EVAL", "return {KEYS[1],KEYS[2],ARGV[1],#ARGV}", "2", "a", "b",
         "c"], ["EVALSHA", sha(known), "0"], ["EVALSHA", "xyz", "0"],
        ["EVALSHA", sha(known)], ["SCRIPT", "EXISTS", sha(known)],
        ["SCRIPT", "LOAD", known], ["SCRIPT", "EXISTS", sha(known), "x"],
        ["EVALSHA", sha(known), "0"], ["EVALSHA", sha(known).upper(), "0"],
        ["EVALSHA_RO", sha(known), "0"],
        ["EVAL_RO", "return redis.call('GET','k')", "0"],
        ["EVAL_RO", "return redis.call('SET','k','v')", "0"],
        ["EVAL_RO", "return redis.pcall('DEL','k')", "0"],
        ["SCRIPT", "FLUSH", "SYNC"], ["SCRIPT", "EXISTS", sha(known)],
        ["SCRIPT"], ["SCRIPT", "LOAD"], ["SCRIPT", "NOSUCH"],
        ["SCRIPT", "KILL"], ["SCRIPT", "KILL", "x"],
        ["MULTI"], ["EVAL", "return redis.call('INCR',KEYS[1])", "1", "n"],
        ["EVAL", "error('x')", "0"], ["GET", "n"], ["EXEC"],
        ["EVAL", "return {1,'a',false,true,{2}}", "0"],
        ["EVAL", "return {double=1.5}", "0"],
        ["EVAL", "return {map={a=1}}", "0"], ["EVAL", "return nil", "0"],
    ]
    ours, theirs = ask_both(bh, real, commands, proto)
    for c, o, t in zip(commands, ours, theirs):
        assert o == t, c


def test_a_script_is_atomic_over_its_slices(bh, c):
    """It runs for many turns; nobody ever sees the half of it."""
    script = """
      for i = 1, 4 do
        redis.call('INCR', KEYS[1])
        local s = 0
        for k = 1, 200000 do s = s + k end
        redis.call('INCR', KEYS[2])
      end
      return redis.call('MGET', KEYS[1], KEYS[2])
    """
    stop = threading.Event()
    seen = []

    def look():
        with bh.client() as other:
            while not stop.is_set():
                seen.append(other.call("MGET", "at1", "at2"))

    c.call("MSET", "at1", 0, "at2", 0)
    t = threading.Thread(target=look)
    t.start()
    try:
        for i in range(20):
            assert c.call("EVAL", script, 2, "at1", "at2") == \
                [str(4 * i + 4)] * 2
    finally:
        stop.set()
        t.join()
    assert all(a == b for a, b in seen)


LOOPS = {
    "plain": "while true do end",
    "pcall": "while true do pcall(function() while true do end end) end",
    "xpcall": "while true do xpcall(function() error('x') end,"
              " function(e) return e end) end",
    "sort": "table.sort({3,2,1,5,4}, function() while true do end end)",
    "gsub": "string.gsub('aaa', 'a', function() while true do end end)",
    "metamethod": "return tostring(setmetatable({}, {__tostring ="
                  " function() while true do end end}))",
    "concat": "local t = setmetatable({}, {__concat = function() while true"
              " do end end}) return t .. 'x'",
    "caught metamethod": "while true do pcall(tostring, setmetatable({},"
                         " {__tostring = function() while true do end"
                         " end})) end",
    "reads": "while true do redis.call('GET', 'k') end",
    "recursion": "local function f() return f() end f()",
    "load": "load(function() return 'x=1 ' end)",
}


@pytest.mark.embedded("limits of scripts are the server's")
@pytest.mark.parametrize("name", LOOPS)
def test_an_endless_script_that_only_reads_is_stopped(bh, c, name, q):
    with bh.client() as other, bh.client() as waiting:
        c.send("EVAL", LOOPS[name], 0)
        other.call("PING")
        waiting.send("GET", "k")
        # Everything that is no key goes on meanwhile.
        for _ in range(10):
            other.add(q)
        e = c.read()
        assert isinstance(e, RespError) and e.word == "ERR"
        assert "eval_time" in e.text or "inside of a function of C" in \
            e.text or "not enough memory" in e.text, e.line
        late = waiting.read()
        assert late is None or late.word == "BUSY"
        assert c.call("EVAL", "return 'well'", 0) == "well"


@pytest.mark.embedded("limits of scripts are the server's")
def test_a_script_that_has_written_goes_on(bh, c):
    """Others are told that the daemon is busy, and nobody can kill it."""
    script = """
      redis.call('SET', KEYS[1], 'begun')
      local function now()
        local t = redis.call('TIME')
        return t[1] * 1000 + t[2] / 1000
      end
      local till = now() + tonumber(ARGV[1])
      while now() < till do end
      redis.call('SET', KEYS[1], 'done')
      return 'done'
    """
    with bh.client() as other:
        c.send("EVAL", script, 1, "busy", 1500)

        def busy():
            try:
                other.call("GET", "busy")
            except RespError as e:
                return e
        e = wait_until(busy, "BUSY")
        assert e.line == "BUSY Redis is busy running a script. You can only" \
            " call SCRIPT KILL or SHUTDOWN NOSAVE."
        e = other.error("SCRIPT", "KILL")
        assert e.word == "UNKILLABLE"
        assert other.call("PING") == "PONG"
        assert c.read() == "done"
        assert other.call("GET", "busy") == "done"
        assert other.error("SCRIPT", "KILL").word == "NOTBUSY"


@pytest.mark.embedded("limits of scripts are the server's")
def test_script_kill(make):
    d = make({"eval_time": "1h"})
    with d.client() as c, d.client() as other:
        c.send("EVAL", "while true do redis.call('GET', 'x') end", 0)

        def killed():
            try:
                return other.call("SCRIPT", "KILL") == "OK"
            except RespError as e:
                assert e.word == "NOTBUSY"
        wait_until(killed, "a script to kill")
        e = c.read()
        assert e.text.startswith("Script killed by user with SCRIPT KILL.")
        assert other.call("SET", "x", 1) == "OK"


EATERS = {
    "table": "local t = {} local i = 0 while true do i = i + 1 t[i] = {i} end",
    "string": "local s = 'x' while true do s = s .. s end",
    "rep": "return string.rep('x', 1e9)",
    "many": "local t = {} for i = 1, 1e9 do t[i] = tostring(i) .. 'x' end",
    "json": "local t = {} for i = 1, 30 do t = {t, t} end"
            " return cjson.encode(t)",
    "decode": "return cjson.decode('[' .. string.rep('0,', 300000) .. '0]')",
    "msgpack": "local t = {} for i = 1, 14 do t = {t, t, t} end"
               " return cmsgpack.pack(t)",
    "closures": "local t = {} for i = 1, 1e9 do t[i] = function() return i"
                " end end",
    "caught": "local t = {} while true do pcall(function() while true do"
              " t[#t+1] = {} end end) end",
    "concat": "local t = {} for i = 1, 100 do t[i] = string.rep('x', 1e5) end"
              " return table.concat(t)",
    "unpack": "return {unpack({}, 1, 1e8)}",
    "stack": "local function f(...) return f(1, ...) end return f()",
    "deep": "local function f() return f() + 1 end return f()",
    "format": "return string.format('%99999d', 1)",
}


@pytest.mark.embedded("limits of scripts are the server's")
@pytest.mark.parametrize("name", EATERS)
def test_a_memory_eater_fails_cleanly(bh, c, name):
    c.call("SET", "kept", 1)
    e = c.error("EVAL", EATERS[name], 0)
    assert e.word == "ERR"
    assert c.call("EVAL", "return redis.call('GET', KEYS[1])", 1,
                  "kept") == "1"
    # What it had is free again.
    assert len(c.call("EVAL", "return string.rep('x', 2000000)", 0)) == \
        2000000


@pytest.mark.embedded("limits of scripts are the server's")
def test_a_script_commits_as_a_whole(make):
    d = make({"eval_time": "1h", "keys_durability": "commit"})
    script = """
      redis.call('SET', 'first', ARGV[1])
      redis.call('DEL', 'old')
      redis.call('RPUSH', 'list', ARGV[1])
      local t, n = redis.call('TIME'), 0
      while redis.call('TIME')[1] - t[1] < 3600 do n = n + 1 end
      redis.call('SET', 'second', ARGV[1])
    """
    with d.client() as c:
        c.call("SET", "old", "there")
        c.call("SET", "first", "before")
        with d.client() as other:
            other.send("EVAL", script, 0, "x")
            # It is at work: key commands wait.
            c.send("GET", "first")
            jobs = d.client()
            for _ in range(50):
                jobs.add("q")
            jobs.close()
            d.kill9()
    d.start()
    with d.client() as c:
        assert c.call("MGET", "old", "first", "second") == \
            ["there", "before", None]
        assert c.call("EXISTS", "list") == 0
        assert c.call("EVAL", "redis.call('SET','first',1) redis.call('DEL',"
                      "'old') return redis.call('RPUSH','list','a')", 0) == 1
    d.kill9()
    d.start()
    with d.client() as c:
        assert c.call("MGET", "old", "first") == [None, "1"]
        assert c.call("LRANGE", "list", 0, -1) == ["a"]


@pytest.mark.embedded("limits of scripts are the server's")
def test_the_cache_of_scripts_has_an_end(bh, c):
    first = "return 'first'"
    c.call("EVAL", first, 0)
    c.pipe([["SCRIPT", "LOAD", "return %d" % i] for i in range(1100)])
    assert c.error("EVALSHA", sha(first), 0).word == "NOSCRIPT"
    assert c.call("EVALSHA", sha("return 1099"), 0) == 1099
    assert c.call("EVAL", first, 0) == "first"


@pytest.mark.embedded("limits of scripts are the server's")
def test_limits_and_messages_from_scripts(c):
    taken = c.call("EVAL", """
      local a = redis.call('CL.THROTTLE', KEYS[1], 1, 1, 3600)
      local b = redis.call('CL.THROTTLE', KEYS[1], 1, 1, 3600)
      local d = redis.call('CL.THROTTLE', KEYS[1], 1, 1, 3600)
      return {a[1], b[1], d[1], redis.call('PUBLISH', 'nobody', 'x')}
    """, 1, "eval:limit")
    assert taken == [0, 0, 1, 0]


@pytest.mark.embedded("limits of scripts are the server's")
@pytest.mark.parametrize("command", [
    "'JOB.ADD','q','x'", "'QUEUE.PAUSE','q'", "'MULTI'", "'WATCH','a'",
    "'EVAL','return 1',0", "'SCRIPT','FLUSH'", "'BLPOP','a',0", "'MONITOR'",
])
def test_what_scripts_may_not_call(c, command):
    e = c.error("EVAL", "return redis.call(%s)" % command, 0)
    assert e.text.startswith("This Redis command is not allowed from script")


def test_a_script_that_does_not_compile(c):
    for command in (["EVAL", "return (", 0], ["SCRIPT", "LOAD", "x y"]):
        e = c.error(*command)
        assert e.text.startswith("Error compiling script (new function):"
                                 " user_script:1: ")


def test_functions_are_not_offered(c):
    for command in (["FUNCTION", "LIST"], ["FCALL", "f", "0"]):
        assert c.error(*command).text.startswith("unknown command")


@pytest.mark.embedded("known difference: a script may flush")
def test_roles(make):
    d = make({"loopback_role": "producer"})
    with d.client(tcp=True) as c:
        assert c.error("EVAL", "return 1", 0).word == "NOPERM"
        assert c.error("SCRIPT", "LOAD", "return 1").word == "NOPERM"
        c.call("MULTI")
        assert c.error("EVAL", "return 1", 0).word == "NOPERM"
        assert c.error("EXEC").word == "EXECABORT"
    d = make({"loopback_role": "operator"})
    with d.client(tcp=True) as c:
        assert c.call("EVAL", "return 1", 0) == 1
        assert c.error("EVAL", "return redis.call('FLUSHALL')", 0).word == \
            "NOPERM"
    with d.client() as c:
        assert c.call("EVAL", "return redis.call('FLUSHALL')", 0) == "OK"


@pytest.mark.embedded("limits of scripts are the server's")
def test_full_memory_is_an_error_of_the_call(make):
    d = make({"keys_memory": "64KiB"})
    with d.client() as c:
        answers = c.pipe([["SET", "k%d" % i, "x" * 1000]
                          for i in range(100)])
        assert any(isinstance(a, RespError) for a in answers)
        e = c.error("EVAL", "return redis.call('SET','more','x')", 0)
        assert e.word == "OOM"
        assert c.call("EVAL", "return redis.call('DEL','k1','k2')", 0) == 2


@pytest.mark.embedded("limits of scripts are the server's")
def test_a_walk_inside_of_a_script(bh, c):
    c.pipe([["SET", "walk:%d" % i, "x"] for i in range(20000)])
    n = c.call("EVAL", "return #redis.call('KEYS', 'walk:*')", 0)
    assert n == 20000
    c.call("EVAL", "for _, k in ipairs(redis.call('KEYS', 'walk:*')) do"
           " redis.call('DEL', k) end", 0)
    assert c.call("KEYS", "walk:*") == []


def test_redis_py_scripts_and_locks(bh):
    redis = pytest.importorskip("redis")
    r = redis.Redis(unix_socket_path=bh.sock)
    double = r.register_script("return redis.call('INCRBY', KEYS[1],"
                               " ARGV[1] * 2)")
    assert double(keys=["py"], args=[5]) == 10
    r.script_flush()
    assert double(keys=["py"], args=[1]) == 12
    with r.lock("py:lock", timeout=10) as lock:
        assert lock.owned()
        lock.extend(5)
        assert not r.lock("py:lock", blocking=False).acquire()
    assert r.lock("py:lock", blocking=False).acquire()
    with r.pipeline(transaction=True) as p:
        p.set("py:a", 1)
        p.incr("py:a")
        assert p.execute() == [True, 2]

    def move(p):
        n = int(p.get("py:a"))
        p.multi()
        p.set("py:a", n + 5)
    assert r.transaction(move, "py:a") == [True]
    assert r.get("py:a") == b"7"
    r.close()


@pytest.mark.embedded("redis.log writes the server's log")
def test_no_script_is_seen_in_the_logs_twice(bh, c):
    c.call("EVAL", "for i = 1, 1000 do redis.log(redis.LOG_WARNING,"
           " 'loop ' .. i) end", 0)
    lines = [x for x in bh.err_text().splitlines()
             if re.search("EVAL script: loop", x)]
    assert len(lines) == 100


def test_a_big_argument_is_gone_with_its_script(bh, c):
    for _ in range(5):
        assert c.call("EVAL", "return #ARGV[1]", 0, "x" * 3000000) == 3000000


def test_many_scripts_in_little_memory(make):
    """Those that are known leave when the memory is needed."""
    d = make({"script_memory": "2MiB"})
    body = "local t = {} " + " ".join(
        "t[%d] = function(a) return a .. 'text %d' end" % (i, i)
        for i in range(300))
    with d.client() as c:
        for i in range(60):
            assert c.call("EVAL", "%s return t[7]('%d')" % (body, i), 0) == \
                "%dtext 7" % i


@pytest.mark.embedded("limits of scripts are the server's")
def test_what_came_before_a_script_is_stored_when_it_is_answered(make):
    """Commands of the same turn, whose rows a walk that begins then holds
    back: no answer before they are written."""
    d = make({"keys_durability": "commit", "eval_time": "50ms"})
    with d.client() as c:
        c.send_raw(encode(["SET", "before", "1"]) +
                   encode(["HSET", "hash", "f", "1"]) +
                   encode(["EVAL", "while true do end", "0"]))
        assert [c.read() for _ in range(2)] == ["OK", 1]
        d.kill9()
    d.start()
    with d.client() as c:
        assert c.call("GET", "before") == "1"
        assert c.call("HGET", "hash", "f") == "1"


@pytest.mark.embedded("limits of scripts are the server's")
@pytest.mark.parametrize("text", [
    "return tostring(rawget(table, 'move'))",
    "return string.rep('', 1e15)",
    "cjson.decode_max_depth(1000000)",
    "cjson.encode_max_depth(1000000)",
    "cjson.encode_sparse_array(true, 0)",
    "cjson.encode_sparse_array(true, 1, 1000000000)",
])
def test_what_would_never_end_or_take_all_memory_does_not_begin(c, text):
    if text.startswith("return"):
        assert c.call("EVAL", text, 0) in ("nil", "")
    else:
        assert "expected integer between" in \
            c.error("EVAL", text, 0).line


@pytest.mark.embedded("limits of scripts are the server's")
def test_settings_of_cjson_within_bounds(c):
    assert c.call("EVAL", "cjson.decode_max_depth(10)"
                  " local ok = pcall(cjson.decode, string.rep('[', 11) .."
                  " string.rep(']', 11)) cjson.decode_max_depth(1000)"
                  " return tostring(ok)", 0) == "false"
    assert c.call("EVAL", "local j = cjson.new()"
                  " j.encode_sparse_array(true, 2, 3)"
                  " return j.encode({[50] = 1})", 0) == '{"50":1}'


@pytest.mark.embedded("limits of scripts are the server's")
def test_a_long_sort_is_right(c):
    assert c.call("EVAL", "local t = {} for i = 1, 5000 do"
                  " t[i] = i * 7919 % 5003 end table.sort(t)"
                  " for i = 2, #t do if t[i - 1] > t[i] then return i end end"
                  " return 0", 0) == 0
