# SPDX-License-Identifier: MIT
"""Lua handlers: what they may say and do, and what stops them."""
import hashlib
import hmac
import json
import os
import re
import time

import pytest

from daemon import wait_until
from lua import fetch_json, run, script

OPTIONS = {"script_cpu": "400ms", "script_memory": "16MiB",
           "shutdown_grace": "10s"}

CONFIG = """
config = { greeting = "olá"; limits = { max = 7; big = 5000000000L; };
           ratio = 1.5; open = true; };
"""


SCRIPTS = {
    # Runs job.data.code? No: scripts cannot load text. One handler an idea.
    "echo.lua": script("echo", "return job.data"),
    "body.lua": script("body", "return { n = #job.body, "
                       "hex = (job.body:gsub('.', function(c) "
                       "return ('%02x'):format(c:byte()) end)), "
                       "data = type(job.data) }"),
    "fields.lua": script("fields", "return { id = job.id, type = "
                         "type(job.id), queue = job.queue, body = job.body, "
                         "attempt = job.attempt, group = job.group }"),
    "nil.lua": script("nothing", "return nil"),
    "error.lua": script("error", "error('boom at sea')",
                        "backoff = { type = 'fixed', delay = '10ms' },"),
    "flaky.lua": script(
        "flaky", "if job.attempt < 3 then error('boom ' .. job.attempt) end "
        "return job.attempt", "backoff = { type = 'fixed', delay = '10ms' },"),
    "retry.lua": script(
        "retry", "if job.attempt == 1 then return job:retry('20ms', "
        "'not yet') end return job.attempt"),
    "retrysec.lua": script("retrysec", "return job:retry(job.data, 'later')"),
    "snooze.lua": script(
        "snooze", "return job:snooze(job.data, 'asleep')"),
    "final.lua": script("final", "return job:fail('rejected: ' .. job.body)"),
    "progress.lua": script(
        "progress", "job:progress(42) job:log('a line of its own') "
        "sleep('20s')"),
    "add.lua": script(
        "add", "return { id = queue.add('added', { by = job.id }, "
        "{ priority = 2, delay = '1h', group = 'g', attempts = 3 }) }"),
    "queues.lua": script(
        "queues", "queue.pause(job.data.q) "
        "local s = queue.stats(job.data.q) "
        "local j = queue.get(job.data.id) "
        "queue.resume(job.data.q) "
        "return { waiting = s.waiting, paused = s.paused, "
        "state = j.state, none = queue.get('123456789012') == nil }"),
    "hold.lua": script(
        "hold", "queue.hold(job.data, '10m', 'told to wait')"),
    "json.lua": script(
        "json", """
    local text = '{"big":9223372036854775807,"neg":-9007199254740993,'
        .. '"f":1.5,"e":[],"o":{"a":[1,2,{"b":null}]},"s":"\\\\u00e9\\\\n"}'
    local t = json.decode(text)
    local ok, err = pcall(json.decode, '{"a":')
    return { big = t.big, neg = t.neg, f = t.f, kind = math.type(t.big),
        s = t.s, again = json.decode(json.encode(t)).big,
        nullkept = t.o.a[3].b == json.null, bad = not ok }
"""),
    "crypto.lua": script(
        "crypto", """
    local u, v = crypto.uuid(), crypto.uuid()
    local a, b = crypto.random(16), crypto.random(16)
    return { sha = crypto.sha256('abc'),
        hmac = crypto.hmac('key', 'text', 'sha256'),
        uuid = u, other = u ~= v, random = #a, differ = a ~= b,
        b64 = base64.encode('\\0\\255hello'),
        back = base64.decode('AP9oZWxsbw==') == '\\0\\255hello' }
"""),
    "config.lua": script(
        "config", "return { g = config.greeting, m = config.limits.max, "
        "b = config.limits.big, r = config.ratio, o = config.open, "
        "kind = math.type(config.limits.max), none = config.nope == nil }"),
    "secret.lua": script("secret", "return secret('pms')"),
    "nosecret.lua": script("nosecret", "return secret(job.data)",
                           "attempts = 1,"),
    "require.lua": script("require", "return greet('Ana')",
                          before="local greet = require('greet')"),
    "noreq.lua": script("noreq", "local ok, e = pcall(require, job.data) "
                        "return { ok = ok, e = tostring(e) }"),
    "sandbox.lua": script("sandbox", """
    local r = {}
    for _, name in ipairs({ 'io', 'debug', 'package', 'coroutine',
        'dofile', 'loadfile', 'collectgarbage' }) do
      r[name] = type(_ENV[name])
    end
    r.execute = type(os and os.execute)
    r.getenv = type(os and os.getenv)
    r.exit = type(os and os.exit)
    r.dump = type(string.dump)
    r.leak = pcall(function() some_global = 1 end)
    r.rawmeta = type(getmetatable(''))
    r.gc = pcall(setmetatable, {}, { __gc = function() end })
    return r
"""),
    "leak.lua": script(
        "leak", "local before = rawget(_G or {}, 'seen') "
        "pcall(function() seen = (seen or 0) + 1 end) "
        "return { seen = before }"),
    "sleep.lua": script("sleep", "local t = now() sleep(job.data) "
                        "return now() - t", "concurrency = 200,"),
    "timeout.lua": script("timeout", "sleep('60s')",
                          "timeout = '150ms', attempts = 1,"),
    "log.lua": script(
        "log", "log.info('a guest arrived', { guest = 'Ana' }) "
        "log.warn('low') log.error('grave') log.debug('quiet')"),
    "cancel.lua": script(
        "cancel", "for i = 1, 2000 do if job:cancelled() then "
        "return 'seen' end sleep('10ms') end"),
    "hog.lua": script(
        "hog", "while true do pcall(function() while true do end end) end",
        "attempts = 1, concurrency = 4,"),
    "hogs.lua": script("hogs", """
    local how = job.body
    if how == 'sort' then
      table.sort({3, 2, 1, 5, 4}, function() while true do end end)
    elseif how == 'gsub' then
      ('abc'):gsub('.', function() while true do end end)
    elseif how == 'xpcall' then
      while true do xpcall(error, function() while true do end end) end
    elseif how == 'meta' then
      local t = setmetatable({}, { __index = function()
        while true do end end })
      while true do pcall(function() return t.x end) end
    elseif how == 'close' then
      local function f()
        local x <close> = setmetatable({}, { __close = function()
          while true do end end })
        error('out')
      end
      while true do pcall(f) end
    elseif how == 'deep' then
      local function f() return pcall(f) and 1 + f() end
      while true do f() end
    elseif how == 'rep' then
      while true do pcall(string.rep, 'x', 1 << 22) end
    end
""", "attempts = 1, concurrency = 8,"),
    "memory.lua": script("memory", """
    local t = {}
    for i = 1, 1 << 30 do t[i] = string.rep('x', 100000) .. i end
""", "attempts = 1,"),
    "memory2.lua": script("memory2", "return #string.rep('x', 1 << 34)",
                          "attempts = 1,"),
    "pattern.lua": script("pattern", """
    local n = 40
    return (('a'):rep(n)):find(('a?'):rep(n) .. ('a'):rep(n) .. 'b')
""", "attempts = 1,"),
    "callbacks.lua": """
return {
  queue = "cb", attempts = 1, max_stalled = 0,
  perform = function(job)
    if job.body == "fail" then error("boom") end
    if job.body == "hang" then sleep("60s") end
    return { ok = true }
  end,
  on_completed = function(job, result)
    queue.add("cb.completed", { job = job.id, result = result })
  end,
  on_failed = function(job, err)
    queue.add("cb.failed", { job = job.id, error = err })
    error("callbacks may fail")
  end,
}
""",
    "broken.lua": "return {\n  queue = 'broken',\n  perform = = 1\n}\n",
}


def prepare(d):
    with open(os.path.join(d.lua, "greet.lua"), "w", encoding="utf-8") as f:
        f.write("return function(name) return 'hello ' .. name end\n")
    path = os.path.join(d.secrets, "pms")
    with open(path, "w", encoding="utf-8") as f:
        f.write("s3cr3t\n")
    os.chmod(path, 0o600)


def dies(c, queue, payload="null", **opts):
    """The job once it has failed."""
    return c.failed(c.add(queue, payload, ATTEMPTS=1, **opts))


# The job.

@pytest.mark.parametrize("value", [
    {"a": [1, 2.5, "x", True, None]}, [1, 2, 3], "text", 42, 1.25, True,
    {"nested": {"deep": [{"x": "ü€😀"}]}}, {"": ""}],
    ids=lambda v: json.dumps(v)[:20])
def test_json_goes_in_and_out(c, value):
    assert run(c, "echo", json.dumps(value)) == value


@pytest.mark.parametrize("n", [9007199254740993, 9223372036854775807,
                               -9223372036854775808, 0])
def test_64_bit_integers_stay_intact(c, n):
    job = c.completed(c.add("echo", '{"n":%d}' % n))
    assert json.loads(job["result"]) == {"n": n}
    assert str(n) in job["result"]


def test_result_is_json_text(c):
    assert c.completed(c.add("echo", '"x"'))["result"] == '"x"'
    job = c.completed(c.add("nothing"))
    assert job.get("result") is None


def test_body_is_bytes_and_data_may_be_nil(c):
    r = run(c, "body", b"\x00\xffab")
    assert r == {"n": 4, "hex": "00ff6162", "data": "nil"}
    assert run(c, "body", '{"a":1}')["data"] == "table"


def test_fields(c):
    id = c.add("fields", "raw", GROUP="g")
    assert json.loads(c.completed(id)["result"]) == {
        "id": id, "type": "string", "queue": "fields", "body": "raw",
        "attempt": 1, "group": "g"}


# How a try ends.

def test_an_error_is_retried_and_recorded(c):
    id = c.add("error", "x", ATTEMPTS=3)
    job = c.failed(id)
    assert job["error_count"] == 3
    assert [e["attempt"] for e in job["errors"]] == [1, 2, 3]
    for e in job["errors"]:
        assert "boom at sea" in e["message"]
        assert "error.lua:" in e["message"]
        assert e["version"]
    assert len({e["version"] for e in job["errors"]}) == 1


def test_a_flaky_handler_gets_there(c):
    id = c.add("flaky", "x")
    job = c.completed(id)
    assert job["result"] == "3"
    assert job["error_count"] == 2
    assert job["attempt"] == 3


def test_retry_counts_an_error(c):
    job = c.completed(c.add("retry"))
    assert job["result"] == "2"
    assert job["error_count"] == 1
    assert "not yet" in job["errors"][0]["message"]


def test_bare_digits_are_seconds(c):
    id = c.add("retrysec", "600")
    wait_until(lambda: c.state(id) == "delayed", "the retry")
    job = c.get(id)
    assert abs(job["run_at"] - job["errors"][0]["at"] - 600000) < 1000
    c.call("JOB.REMOVE", id)


def test_retry_takes_an_http_date(c):
    when = time.time() + 7200
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(when))
    id = c.add("retrysec", json.dumps(date))
    wait_until(lambda: c.state(id) == "delayed", "the retry")
    assert abs(c.get(id)["run_at"] - when * 1000) < 3000
    c.call("JOB.REMOVE", id)


def test_snooze_gives_the_start_back(c):
    id = c.add("snooze", '"10m"')
    wait_until(lambda: c.state(id) == "delayed", "the snooze")
    job = c.get(id)
    assert job.get("attempt", 0) == 0
    assert job.get("error_count", 0) == 0
    assert job["run_at"] > time.time() * 1000 + 500000
    c.call("JOB.REMOVE", id)


def test_fail_is_for_good(c):
    job = c.failed(c.add("final", "no such guest", ATTEMPTS=12))
    assert "rejected: no such guest" in job["error"]
    assert job["attempt"] == 1


def test_timeout(c):
    job = c.failed(c.add("timeout"))
    assert re.search("time", job["error"], re.I)
    assert "150" in job["error"] or "timeout" in job["error"].lower() \
        or "timed out" in job["error"].lower()
    assert job["error_count"] == 1


def test_a_jobs_own_timeout_counts(c):
    job = c.failed(c.add("sleep", '"60s"', TIMEOUT=100, ATTEMPTS=1))
    assert job["finished_at"] - job["started_at"] < 30000


def test_progress_and_log(c, bh):
    id = c.add("progress")
    wait_until(lambda: (c.get(id) or {}).get("progress") == "42",
               "the progress")
    assert c.state(id) == "active"
    wait_until(lambda: "a line of its own" in bh.err_text(), "the log line")
    c.call("JOB.CANCEL", id)
    c.failed(id)


def test_cancel_of_a_running_handler(c):
    id = c.add("cancel")
    wait_until(lambda: c.state(id) == "active", "the handler")
    assert c.call("JOB.CANCEL", id, "guest left") == "OK"
    job = c.failed(id)
    assert "cancelled" in job["error"]


# What a handler may ask.

def test_queue_add(c):
    r = run(c, "add")
    job = c.get(r["id"])
    assert isinstance(r["id"], str)
    assert job["queue"] == "added"
    assert job["state"] == "delayed"
    assert (job["priority"], job["group"], job["attempts"]) == (2, "g", 3)
    assert "by" in json.loads(job["payload"])
    c.call("JOB.REMOVE", r["id"])


def test_queue_pause_stats_get_resume(c, q):
    id = c.add(q, "x")
    r = run(c, "queues", json.dumps({"q": q, "id": id}))
    assert r["waiting"] == 1
    assert r["paused"] in (1, True)
    assert r["state"] == "waiting"
    assert r["none"] is True
    assert not c.stats(q)["paused"]


def test_queue_hold(c, q):
    run(c, "hold", json.dumps(q))
    why = c.why(c.add(q, "x"))
    assert why["gate"] == "held"
    assert "told to wait" in why["text"]


def test_json(c):
    r = run(c, "json")
    assert r["big"] == 9223372036854775807
    assert r["again"] == 9223372036854775807
    assert r["neg"] == -9007199254740993
    assert (r["f"], r["kind"], r["s"]) == (1.5, "integer", "é\n")
    assert r["nullkept"] is True
    assert r["bad"] is True


def test_crypto_and_base64(c):
    r = run(c, "crypto")
    assert r["sha"] == hashlib.sha256(b"abc").hexdigest()
    assert r["hmac"] == hmac.new(b"key", b"text", "sha256").hexdigest()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                        r["uuid"])
    assert r["other"] and r["differ"]
    assert r["random"] in (16, 32)      # bytes, or their hexadecimal form
    assert r["b64"] == "AP9oZWxsbw=="
    assert r["back"] is True


def test_config(c):
    assert run(c, "config") == {
        "g": "olá", "m": 7, "b": 5000000000, "r": 1.5, "o": True,
        "kind": "integer", "none": True}


def test_secret(c):
    assert run(c, "secret") == "s3cr3t"


@pytest.mark.parametrize("name", ["unknown", "../bellhop.conf", "/etc/passwd",
                                  "..", ""])
def test_no_such_secret(c, name):
    job = dies(c, "nosecret", json.dumps(name))
    assert "root:" not in job["error"]
    assert name in job["error"] or "secret" in job["error"]


def test_require(c):
    assert run(c, "require") == "hello Ana"


@pytest.mark.parametrize("name", ["../scripts/echo", "/etc/passwd", "io",
                                  "debug", "os", "no.such"])
def test_require_stays_in_its_directory(c, name):
    r = run(c, "noreq", json.dumps(name))
    assert r["ok"] is False or name == "os"
    if not r["ok"]:
        assert len(r["e"]) > 5


def test_sandbox(c):
    r = run(c, "sandbox")
    for name in ("io", "debug", "package", "coroutine", "dofile",
                 "loadfile", "collectgarbage", "execute", "getenv", "exit",
                 "dump"):
        assert r[name] == "nil", (name, r)
    assert r["gc"] is False, "a script may set finalizers"
    assert r["rawmeta"] != "table", "a script reaches the strings' metatable"


def test_jobs_do_not_leak_into_each_other(c):
    for _ in range(5):
        assert run(c, "leak") in ({"seen": None}, {}, [])


def test_sleep_yields(c):
    start = time.monotonic()
    ids = [c.add("sleep", '"300ms"') for _ in range(100)]
    for id in ids:
        c.completed(id)
    # One after the other they would take 30 s.
    assert time.monotonic() - start < 20


def test_log(c, bh):
    run(c, "log")
    wait_until(lambda: "grave" in bh.err_text(), "the log line")
    text = bh.err_text()
    line = next(x for x in text.splitlines() if "a guest arrived" in x)
    assert "Ana" in line
    assert "low" in text


# What stops a handler.

def others_go_on(c):
    assert run(c, "echo", '"alive"') == "alive"


def test_cpu_hogs_that_catch_errors(c):
    ids = [c.add("hog", str(n)) for n in range(4)]
    others_go_on(c)
    for id in ids:
        job = c.failed(id)
        assert "cpu" in job["error"].lower()
        others_go_on(c)


@pytest.mark.parametrize("how", ["sort", "gsub", "xpcall", "meta", "close",
                                 "deep", "rep"])
def test_other_hogs(c, how):
    id = c.add("hogs", how)
    others_go_on(c)
    job = c.failed(id)
    assert job["error"]
    others_go_on(c)


def test_memory_hog(c):
    ids = [c.add("memory"), c.add("memory2")]
    others_go_on(c)
    for id in ids:
        assert "memory" in c.failed(id)["error"].lower()
    others_go_on(c)


def test_catastrophic_pattern(c):
    id = c.add("pattern")
    others_go_on(c)
    assert c.failed(id)["error"]
    others_go_on(c)


def test_hogs_do_not_stop_the_door(c, bh):
    ids = [c.add("hog", str(n)) for n in range(4)]
    worst = 0
    for _ in range(200):
        t = time.monotonic()
        c.call("PING")
        worst = max(worst, time.monotonic() - t)
    assert worst < 1
    for id in ids:
        c.failed(id)


# Callbacks.

def test_on_completed(c):
    id = c.add("cb", "fine")
    r = fetch_json(c, "cb.completed")
    assert r["job"] == id


def test_on_failed_and_its_own_error(c, bh):
    id = c.add("cb", "fail")
    r = fetch_json(c, "cb.failed")
    assert r["job"] == id
    assert "boom" in r["error"]
    # Its own error is logged and not retried.
    wait_until(lambda: "callbacks may fail" in bh.err_text(), "the log line")
    assert c.fetch("cb.failed", BLOCK=200) == []


def test_a_broken_script_at_start_does_not_stop_the_daemon(c, bh):
    text = bh.err_text()
    assert re.search(r"broken\.lua:3: ", text), text
    id = c.add("broken", "x")
    why = c.why(id)
    assert why["gate"] in ("broken", "no_handler")
    if why["gate"] == "broken":
        assert "broken.lua:3" in why["text"]
    assert c.get(id).get("attempt", 0) == 0


def test_scripts_are_listed(c):
    text = str(c.call("BELLHOP", "SCRIPTS"))
    assert "echo.lua" in text
    assert "broken.lua:3" in text


def test_the_log_tells_how_each_try_ended(make):
    d = make(scripts={"a.lua": """
        return { queue = "a", attempts = 2, backoff = { delay = "1ms" },
          perform = function(job)
            if job.body == "bad" then error("no good") end
            if job.body == "later" and job.run_at == job.created_at then
              job:snooze("1ms", "not yet")
            end
          end }"""})
    c = d.client()
    c.wait(c.add("a", "good"))
    c.wait(c.add("a", "bad"))
    c.wait(c.add("a", "later"))
    text = wait_until(
        lambda: d.err_text().count("completed after") == 2 and d.err_text(),
        "lines about two completed jobs")
    assert "completed after" in text
    assert text.count("failed, will be tried again: a.lua:4: no good") == 1
    assert text.count("failed for good: a.lua:4: no good") == 1
    assert text.count("snoozed: not yet") == 1


def test_the_log_is_not_flooded_by_tries(make):
    d = make({"log_jobs": 1}, scripts={"a.lua": """
        return { queue = "a", concurrency = 1,
                 perform = function(job) end }"""})
    c = d.client()
    for id in c.call("JOB.MADD", "a", 60, *["x"] * 60):
        c.wait(id)
    text = d.err_text()
    said = text.count("more than 10 lines about completed jobs in 10 s")
    # A test that falls on the border of two periods sees both.
    assert 1 <= said <= 2
    assert text.count("completed after") <= 20


def test_secrets_as_systemd_hands_them_over(make, tmp_path):
    (tmp_path / "one").write_text("first\n")
    (tmp_path / "secrets_two").write_text("second\n")
    d = make(env={"CREDENTIALS_DIRECTORY": str(tmp_path)},
             scripts={"a.lua": """
        return { queue = "a", perform = function(job)
          return secret("one") .. " " .. secret("two") .. " "
            .. secret("three") end }"""})
    with open(d.secrets + "/three", "w") as f:
        f.write("third\n")
    c = d.client()
    id = c.add("a", "x")
    c.wait(id)
    assert c.get(id)["result"] == '"first second third"'
