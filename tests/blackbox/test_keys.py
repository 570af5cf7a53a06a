# SPDX-License-Identifier: MIT
"""Keys and limiters: what is kept, what goes, what scripts make of them. That
the commands answer as Redis does is test_redis_same.py's."""
import json
import threading

import pytest

from daemon import wait_until
from lua import run, script
from resp import Closed, RespError

OPTIONS = {"script_threads": 2, "cache_memory": "1MiB"}

SCRIPTS = {
    "values.lua": script("values", """
      local out = {}
      for i, v in ipairs({ "text", "5", "null", '{"a":1}', '"quoted"', "",
          5, 1.5, -0.0, true, false, 9007199254740993 }) do
        cache.set("v" .. i, v, "1m")
        local got = cache.get("v" .. i)
        if got ~= v or math.type(got) ~= math.type(v) then
          out[#out + 1] = tostring(v) .. " became " .. tostring(got)
        end
      end
      cache.set("bytes", "\\0\\xff", "1m")
      if cache.get("bytes") ~= "\\0\\xff" then out[#out + 1] = "bytes" end
      cache.set("table", { list = { 1, 2 }, none = json.null }, "1m")
      local t = cache.get("table")
      if t.list[2] ~= 2 or t.none ~= json.null then out[#out + 1] = "t" end
      if cache.get("nothing") ~= nil then out[#out + 1] = "nothing" end
      if not cache.del("table") or cache.del("table") then
        out[#out + 1] = "del"
      end
      out[#out + 1] = cache.incr("count", 2)
      out[#out + 1] = cache.incr("count")
      return out
    """),
    "session.lua": script("session", """
      local id = job.data.id
      session.set(id, { user = 7 }, "100s")
      local first = session.get(id)
      local touched = session.touch(id, "1h")
      return { first.user, touched, session.del(id), session.del(id),
               session.get(id) == nil, session.touch(id) }
    """),
    "fetch.lua": script("fetch", """
      local d = job.data
      local value = cache.fetch(d.key, "1m", function(key)
        local n = redis("INCR", "ran:" .. key)
        if n <= (d.fail or 0) then error("no luck") end
        if n <= (d.hang or 0) then sleep("1h") end
        while redis("GET", "gate:" .. key) == nil do sleep("2ms") end
        if d.none then return nil end
        return { made = n, key = key }
      end)
      return value or "nothing"
    """, "concurrency = 20, attempts = 1,"),
    "once.lua": script("once", """
      local d = job.data
      local ran, value = once(d.key, "1h", function()
        local n = redis("INCR", "once-ran:" .. d.key)
        if d.fail then error("broken") end
        if d.hang then sleep("1h") end
        return n
      end)
      return { ran, value }
    """, "concurrency = 20, attempts = 1,"),
    "lock.lua": script("lock", """
      local d = job.data
      if d.hang then
        return lock(d.key, "1h", function()
          redis("SET", "held:" .. d.key, 1)
          sleep("1h")
        end)
      end
      local ok, n = lock(d.key, "60s", function()
        local n = tonumber(redis("GET", "sum:" .. d.key) or 0)
        sleep("3ms")
        redis("SET", "sum:" .. d.key, n + 1)
        if d.fail then error("broken") end
        return n + 1
      end, { wait = d.wait })
      return { ok, n }
    """, "concurrency = 20, attempts = 1,"),
    "limit.lua": script("limit", """
      local a, i = limit.take(job.data.key, 2, "1h")
      local b = limit.take(job.data.key, 2, "1h", { quantity = 1 })
      local c, k = limit.take(job.data.key, 2, "1h")
      local d = limit.take(job.data.key .. "2", { { 1, "1s" }, { 5, "1d" } })
      local _, e = limit.take(job.data.key .. "3", 2, "1h", { quantity = 9 })
      return { a, i.remaining, b, c, k.retry_after, d, e.never }
    """),
    "errors.lua": script("errors", """
      local out = {}
      for _, f in ipairs({
        function() redis("JOB.ADD", "x", "y") end,
        function() redis("FLUSHALL") end,
        function() redis("INCR", "errors-text") end,
        function() redis("NOSUCH") end,
        function() redis("SET", "k", {}) end,
        function() cache.set("k", nil) end,
        function() cache.set("k", 1, "soon") end,
        function() cache.get(nil) end,
        function() session.set("k", "text") end,
        function() limit.take("k", 0, "1s") end,
        function() limit.take("k", 5) end,
        function() once("k", nil, function() end) end,
        function() lock("k", "1s") end,
        function()
          cache.fetch("self", "1m", function(k)
            return cache.fetch(k, "1m", function() return 1 end)
          end)
        end,
      }) do
        redis("SET", "errors-text", "text")
        local ok, err = pcall(f)
        out[#out + 1] = ok and "no error" or err
      end
      return out
    """),
}


def jobs(c, queue, datas, **opts):
    """The decoded results, None for a job that failed."""
    ids = [c.add(queue, json.dumps(d), **opts) for d in datas]
    out = []
    for i in ids:
        job = c.finished(i)
        out.append(json.loads(job["result"])
                   if job["state"] == "completed" else None)
    return out


# Scripts.


def test_cache_gives_back_what_it_was_given(c):
    assert run(c, "values") == [2, 3]
    # Others see plain text, and a number that can be counted.
    assert c.call("GET", "cache:v1") == "text"
    assert c.call("INCR", "cache:v7") == 6


def test_sessions(c):
    assert run(c, "session", '{"id": "abc"}') == \
        [7, True, True, False, True, False]


def fetch(c, key, n, **data):
    ids = [c.add("fetch", json.dumps(dict(data, key=key)))
           for _ in range(n)]
    return ids


def results(c, ids):
    out = []
    for i in ids:
        job = c.finished(i)
        out.append(json.loads(job["result"])
                   if job["state"] == "completed" else job["error"])
    return out


def test_fetch_runs_once_for_all(c):
    ids = fetch(c, "f1", 16)
    wait_until(lambda: c.stats("fetch")["active"] >= 16, "16 handlers")
    c.call("SET", "gate:f1", 1)
    assert results(c, ids) == [{"made": 1, "key": "f1"}] * 16
    assert c.call("GET", "ran:f1") == "1"
    # From the cache, without a run.
    assert results(c, fetch(c, "f1", 1)) == [{"made": 1, "key": "f1"}]
    assert c.call("GET", "ran:f1") == "1"


def test_fetch_that_fails_lets_the_next_one_try(c):
    ids = fetch(c, "f2", 8, fail=3)
    c.call("SET", "gate:f2", 1)
    got = results(c, ids)
    bad = [x for x in got if isinstance(x, str)]
    assert len(bad) == 3 and all("no luck" in x for x in bad), got
    assert [x for x in got if not isinstance(x, str)] == \
        [{"made": 4, "key": "f2"}] * 5
    assert c.call("GET", "ran:f2") == "4"


def test_fetch_whose_runner_is_killed_goes_on(c):
    data = json.dumps({"key": "f3", "hang": 1})
    first = c.add("fetch", data, TIMEOUT=300)
    wait_until(lambda: c.call("GET", "ran:f3"), "the first runner")
    ids = fetch(c, "f3", 4)
    c.call("SET", "gate:f3", 1)
    assert "timeout" in c.failed(first)["error"]
    assert results(c, ids) == [{"made": 2, "key": "f3"}] * 4


def test_fetch_of_nothing_is_not_kept(c):
    ids = fetch(c, "f4", 4, none=True)
    wait_until(lambda: c.stats("fetch")["active"] >= 4, "4 handlers")
    c.call("SET", "gate:f4", 1)
    assert results(c, ids) == ["nothing"] * 4
    assert c.call("EXISTS", "cache:f4") == 0


def test_once(c):
    got = jobs(c, "once", [{"key": "o1"}] * 10)
    assert sorted(got) == [[False]] * 9 + [[True, 1]]
    # An error frees the key, and so does the end of a run that is killed.
    assert jobs(c, "once", [{"key": "o2", "fail": True}]) == [None]
    assert jobs(c, "once", [{"key": "o2"}]) == [[True, 2]]
    assert jobs(c, "once", [{"key": "o3", "hang": True}], TIMEOUT=100) \
        == [None]
    wait_until(lambda: c.call("EXISTS", "once:o3") == 0, "the key's end")
    assert jobs(c, "once", [{"key": "o3"}]) == [[True, 2]]


def test_lock_lets_one_in_at_a_time(c):
    got = jobs(c, "lock", [{"key": "l1"}] * 12)
    assert sorted(got) == [[True, n + 1] for n in range(12)]
    assert c.call("EXISTS", "lock:l1") == 0
    assert jobs(c, "lock", [{"key": "l1", "fail": True}]) == [None]
    assert c.call("EXISTS", "lock:l1") == 0


def test_lock_waits_only_as_long_as_it_is_told(c):
    c.call("SET", "lock:l2", "somebody")
    assert jobs(c, "lock", [{"key": "l2", "wait": 0}]) == [[False]]
    assert jobs(c, "lock", [{"key": "l2", "wait": "30ms"}]) == [[False]]


@pytest.mark.embedded("volatile and durable keys")
def test_lock_of_a_killed_run_is_free(c):
    i = c.add("lock", '{"key": "l3", "hang": true}', TIMEOUT=300)
    wait_until(lambda: c.call("EXISTS", "held:l3"), "the lock")
    got = jobs(c, "lock", [{"key": "l3", "wait": "60s"}])
    assert got == [[True, 1]]
    c.failed(i)


def test_limits_of_scripts(c):
    got = run(c, "limit", '{"key": "lim"}')
    assert got[:4] == [True, 1, True, False]
    assert 1700 < got[4] <= 1800
    assert got[5:] == [True, True]


def test_errors_name_the_line_of_the_script(c):
    wanted = [
        "redis: 'JOB.ADD' is no command of the keyspace", "NOPERM",
        "ERR value is not an integer", "'NOSUCH' is no command",
        "expected a string or a number, not table", "nil cannot be stored",
        "cache.set: ttl: expected a duration",
        "cache.get: expected a key, a string, not nil",
        "session.set: expected a table, not string", "limit:",
        "a window has no time", "once: the ttl is missing",
        "lock: expected a function", "the key that it is to make"]
    got = run(c, "errors")
    assert len(got) == len(wanted)
    for text, part in zip(got, wanted):
        assert part in text and text.startswith("errors.lua:"), (text, part)


# The cache and its bounds.


@pytest.mark.embedded("volatile and durable keys")
def test_cache_stays_within_its_memory(c):
    c.call("SET", "kept", "x" * 100000)
    c.call("SET", "cache:hot", "1")
    for i in range(0, 6000, 100):
        c.pipe([["SET", "cache:%d" % k, "x" * 500]
                for k in range(i, i + 100)])
        assert c.call("GET", "cache:hot") == "1"
    info = c.call("INFO", "memory", "stats")
    figures = dict(x.split(":", 1) for x in info.splitlines() if ":" in x)
    assert int(figures["cache_memory_bytes"]) <= 1 << 20
    assert int(figures["evicted_keys"]) > 3000
    assert c.call("STRLEN", "kept") == 100000
    assert c.call("GET", "cache:0") is None
    assert c.call("GET", "cache:5999") == "x" * 500


@pytest.mark.embedded("volatile and durable keys")
def test_durable_keys_stop_at_their_memory(make):
    d = make({"keys_memory": "1MiB"})
    c = d.client()
    n = 0
    while True:
        try:
            c.call("SET", "k%d" % n, "x" * 10000)
        except RespError as e:
            assert e.line == "OOM command not allowed when used memory > " \
                "'maxmemory'."
            break
        n += 1
        assert n < 1000
    assert n > 90
    assert c.error("APPEND", "k0", "x").word == "OOM"
    c.call("SET", "cache:a", "still")
    assert c.call("GET", "k0") == "x" * 10000
    assert c.call("DEL", *["k%d" % i for i in range(10)]) == 10
    c.call("SET", "k0", "again")
    d.restart()
    assert d.client().call("GET", "k0") == "again"


@pytest.mark.embedded("volatile and durable keys")
def test_prefixes_are_an_option(make):
    d = make(config='keys = { volatile = [ "tmp:", "c" ]; };')
    c = d.client()
    c.pipe([["SET", k, "1"] for k in ("tmp:1", "cache:1", "x", "tmp")])
    d.restart()
    assert sorted(d.client().call("KEYS", "*")) == ["tmp", "x"]
    d.write_config(config='keys = { volatile = [ ]; };')
    d.ctl_ok("reload")
    d.client().call("SET", "tmp:1", "now durable")
    d.restart()
    assert sorted(d.client().call("KEYS", "*")) == ["tmp", "tmp:1", "x"]


# What is kept.


@pytest.mark.embedded("volatile and durable keys")
def test_keys_survive_restart_with_their_expiry(make):
    d = make()
    c = d.client()
    c.call("SET", "a", "1", "PXAT", "4102444800123")
    c.call("SET", "b\0\udcff", "bytes \0\udcff")
    c.call("SET", "c", "1")
    c.call("SET", "gone", "1", "PX", "1")
    c.call("RENAME", "c", "d")
    c.call("SET", "e", "1")
    c.call("DEL", "e")
    c.call("SET", "cache:x", "1")
    c.call("INCRBYFLOAT", "f", "1.5")
    d.kill9()
    c = d.start().client()
    assert sorted(c.call("KEYS", "*")) == ["a", "b\0\udcff", "d", "f"]
    assert c.call("PEXPIRETIME", "a") == 4102444800123
    assert c.call("GET", "b\0\udcff") == "bytes \0\udcff"
    assert c.call("GET", "f") == "1.5"
    assert d.ctl("doctor").status == 0
    c.call("FLUSHALL")
    c.call("SET", "after", "1")
    d.kill9()
    assert d.start().client().call("KEYS", "*") == ["after"]


@pytest.mark.embedded("volatile and durable keys")
def test_acknowledged_writes_survive_kill(make):
    d = make()
    told = {}
    stop = threading.Event()

    def work(name):
        try:
            with d.client() as c:
                n = 0
                while not stop.is_set():
                    n += 1
                    a = c.pipe([["INCR", "n:" + name],
                                ["SET", "s:%s:%d" % (name, n % 50), n],
                                ["APPEND", "a:" + name, "."],
                                ["DEL", "s:%s:%d" % (name, (n + 7) % 50)]])
                    assert a[0] == n and a[2] == n
                    told[name] = n
        except (Closed, OSError):
            pass

    threads = [threading.Thread(target=work, args=(str(i),))
               for i in range(4)]
    for t in threads:
        t.start()
    wait_until(lambda: len(told) == 4 and min(told.values()) > 60,
               "some writes")
    d.kill9()
    stop.set()
    for t in threads:
        t.join()
    c = d.start().client()
    for name, n in told.items():
        # One more round may have been under way.
        assert int(c.call("GET", "n:" + name)) in (n, n + 1)
        assert c.call("STRLEN", "a:" + name) in (n, n + 1)
        assert int(c.call("GET", "s:%s:%d" % (name, n % 50)) or n) >= n
        assert c.call("EXISTS", "s:%s:%d" % (name, (n + 9) % 50)) == 1
    assert d.ctl("doctor").status == 0


def test_memory_durability_answers_and_keeps(make):
    d = make({"keys_durability": "memory"})
    c = d.client()
    assert c.call("SET", "a", "1") == "OK"
    d.restart()
    assert d.client().call("GET", "a") == "1"


def test_walks_let_others_through(bh, c):
    """KEYS over many keys runs in slices: the other client's PING comes
    first, its GET waits and sees a whole."""
    c.call("FLUSHALL")
    c.pipe([["SET", "w:%d" % i, "1"] for i in range(30000)])
    with bh.client() as other:
        c.send("KEYS", "*")
        assert other.call("PING") == "PONG"
        assert other.call("DBSIZE") == 30000
        assert len(c.read()) == 30000
    assert c.call("FLUSHALL") == "OK"
    assert c.call("KEYS", "*") == []


# Limiters and roles.


@pytest.mark.embedded("volatile and durable keys")
def test_limiters_outlive_a_restart_where_they_shall(make):
    for durable, left in ((False, 1), (True, 0)):
        d = make({"limits_durable": durable})
        assert d.client().call("CL.THROTTLE", "t", 0, 1, 3600)[0] == 0
        d.restart()
        assert d.client().call("CL.THROTTLE", "t", 0, 1, 3600, 0)[2] == left


def test_throttle_answers_as_redis_cell(c):
    assert c.call("CL.THROTTLE", "t1", 15, 30, 60) == [0, 16, 15, -1, 2]
    assert c.call("CL.THROTTLE", "t1", 15, 30, 60, 0) == [0, 16, 15, -1, 2]
    assert c.call("CL.THROTTLE", "t1", 15, 30, 60, 16)[0] == 1
    assert c.call("CL.THROTTLE", "t2", 0, 1, 3600) == [0, 1, 0, -1, 3600]
    assert c.call("CL.THROTTLE", "t2", 0, 1, 3600) == [1, 1, 0, 3600, 3600]
    # More than it ever holds: never.
    assert c.call("CL.THROTTLE", "t3", 1, 1, 60, 3) == [1, 2, 2, -1, 0]
    assert c.error("CL.THROTTLE", "t", -1, 1, 60).line.startswith(
        "BADARG max_burst:")
    assert c.error("CL.THROTTLE", "t", 1, 0, 60).word == "BADARG"
    assert c.error("CL.THROTTLE", "t", 1, 1).line == \
        "ERR wrong number of arguments for 'cl.throttle' command"


def test_windows_are_all_or_nothing(c):
    for _ in range(2):
        got = c.call("LIMIT.TAKE", "w1", 1, 2, 2, 60000, 2, 100, 3600000, 100)
        assert got["allowed"] is True
    got = c.call("LIMIT.TAKE", "w1", 1, 2, 2, 60000, 2, 100, 3600000, 100)
    assert got["allowed"] is False
    short, long = got["windows"]
    assert short["remaining"] == 0 and 0 < short["retry_ms"] <= 30000
    # The other window has lost nothing, and would have let it pass.
    assert long["remaining"] == 98 and long["retry_ms"] == 0
    assert c.error("LIMIT.TAKE", "w1", 1, 2, 2, 60000, 2).word == "ERR"


@pytest.mark.parametrize("role,allowed,refused", [
    ("producer", ["SET", "r", "1"], ["FLUSHALL"]),
    ("operator", ["GET", "r"], ["FLUSHDB"]),
    ("reader", ["PING"], ["GET", "r"]),
])
def test_roles(bh, role, allowed, refused):
    token = bh.ctl_ok("token", "add", "t-" + role, "--role", role).split()[-1]
    with bh.client(tcp=True) as c:
        c.call("AUTH", token)
        c.call(*allowed)
        assert c.error(*refused).word == "NOPERM"
