# SPDX-License-Identifier: MIT
"""bellhopctl test: specs of scripts, without a daemon."""
import hashlib
import hmac
import os
import subprocess

import pytest

from daemon import POISON, find_binary

SEND = """
return { queue = "out", attempts = 3, timeout = "30s",
  perform = function(job)
    local res = http.post(config.url, { json = job.data, timeout = "10s",
      headers = { Authorization = "Bearer " .. secret("token") } })
    if res.status == 429 then return job:retry(res.retry_after, "slow") end
    if res.status >= 500 then error("answered " .. res.status) end
    if res.status >= 400 then return job:fail("rejected: " .. res.body) end
    if job.data.nap then sleep(job.data.nap) end
    job:progress(50)
    local id = queue.add("sent", { id = res.json.id }, { delay = "5s" })
    mail.send { to = "Ana <ana@x.example>", subject = "Olá", text = "a\\nb" }
    local r = exec("/usr/bin/lp", { "-n", 2 }, { stdin = "page" })
    log.info("printed " .. r.stdout)
    return { message = res.json.id, next = id }
  end,
  on_failed = function(job, err)
    queue.add("alerts", { job = job.id, error = err })
  end,
  on_completed = function(job, result) queue.hold("out", "1m", result.why) end,
}
"""

BATCH = """
return { queue = "batch", batch = { max = 10 },
  perform_batch = function(jobs)
    for _, j in ipairs(jobs) do
      if j.data.bad then j:fail("bad") end
    end
    return { n = #jobs }
  end }
"""

HOOK = """
return { queue = "in",
  hook = { name = "shop", secret = "shop", signature = "hmac-sha256",
    header = "X-Sign", accept = function(req)
      if req.json.kind == "ping" then return nil end
      if req.json.kind == "boom" then error("boom") end
      return { group = req.json.who, data = { n = req.json.n } }
    end },
  perform = function(job) end,
  subscribe = { ["guest.*"] = function(msg, topic)
    queue.add("news", { topic = topic, name = msg.name })
  end } }
"""

HEAD = """
local function ready(t)
  t:config { url = "https://api.example/send" }
  t:secrets { token = "s3cret" }
  return t:script("send.lua")
end
"""


@pytest.fixture
def check(tmp_path):
    """Runs a file of specs: its exit status and what it printed."""
    for name, text in (("send", SEND), ("batch", BATCH), ("hook", HOOK)):
        (tmp_path / (name + ".lua")).write_text(text)

    def run(text, path=None, head=HEAD):
        if text is not None:
            (tmp_path / "a_spec.lua").write_text(head + text)
        p = subprocess.run(
            [find_binary("bellhopctl"), "test", str(path or tmp_path)],
            capture_output=True, text=True, timeout=120, check=False,
            env=dict(os.environ, http_proxy="http://127.0.0.1:1"))
        assert not POISON.search(p.stderr), p.stderr
        return p.returncode, p.stdout, p.stderr
    run.dir = tmp_path
    return run


def passes(check, text):
    status, out, err = check(text)
    assert (status, err) == (0, ""), out + err
    return out


def test_a_script_that_sends(check):
    assert passes(check, """
spec("sends", function(t)
  local s = ready(t)
  t:http("POST", "https://api.example/send", { json = { id = "m1" } })
  t:exec("/usr/bin/lp", { stdout = "ok" })
  local r = s:perform { data = { to = "+351" } }
  t:equal(r.state, "completed")
  t:equal(r.result, { message = "m1", next = "1" })
  local q = t:requests()
  t:equal(#q, 1)
  t:equal(q[1].json.to, "+351")
  t:equal(q[1].headers.authorization, "Bearer s3cret")
  t:equal(t:jobs("sent")[1].data, { id = "m1" })
  t:equal(t:jobs("sent")[1].delay, 5000)
  t:equal(r.progress, { 50 })
  t:equal(t:mails()[1].subject, "Olá")
  t:equal(t:mails()[1].text, "a\\nb")
  t:equal(t:mails()[1].recipients, { "ana@x.example" })
  t:equal(t:execs()[1].args, { "-n", "2" })
  t:equal(t:execs()[1].stdin, "page")
  t:match(r.log[1].text, "printed ok")
end)
""") == "1 passed, 0 failed\n"


def test_every_end_of_a_job(check):
    passes(check, """
local function with(answer, job)
  return function(t)
    local s = ready(t)
    t:http("POST", "https://api.example/*", answer)
    return s:perform(job or { data = {} })
  end
end
spec("retry after", function(t)
  local r = with({ status = 429, headers = { ["Retry-After"] = "17" } })(t)
  t:equal(r.state, "delayed") t:equal(r.delay, 17.0)
  t:equal(r.error, "slow")
end)
spec("back-off", function(t)
  local r = with({ status = 500 })(t)
  t:equal(r.state, "delayed") t:equal(r.delay, nil)
  t:match(r.error, "send.lua:%d+: answered 500")
end)
spec("the last try", function(t)
  local r = with({ status = 500 }, { data = {}, attempt = 3 })(t)
  t:equal(r.state, "failed")
end)
spec("for good", function(t)
  local r = with({ status = 400, body = "no" })(t)
  t:equal(r.state, "failed") t:equal(r.error, "rejected: no")
end)
spec("transport", function(t)
  local r = with({ error = "could not resolve host" })(t)
  t:match(r.error, "http.post https://api.example/send: could not resolve")
end)
spec("slow answer", function(t)
  local r = with({ delay = "11s" })(t)
  t:match(r.error, "timeout: no answer after 10000 ms")
end)
""")


def test_time_is_turned_by_hand(check):
    passes(check, """
spec("sleeps and timeouts cost no time", function(t)
  local s = ready(t)
  t:http("POST", "https://api.example/*", { json = {}, delay = "2s" })
  local from = t:now()
  t:equal(s:perform({ data = { nap = "20s" } }).state, "completed")
  t:equal(t:now() - from, 22.0)
  local r = s:perform { data = { nap = "1h" } }
  t:equal(r.error, "timeout after 30.0 s")
  t:equal(t:now() - from, 52.0)
  t:advance("1d")
  t:equal(t:now() - from, 86452.0)
end)
spec("each spec begins anew", function(t)
  t:equal(t:now(), 1767268800.0)
  t:equal(#t:requests(), 0)
end)
""")


def test_callbacks_batches_and_messages(check):
    passes(check, """
spec("callbacks", function(t)
  local s = ready(t)
  s:on_failed({ id = 7 }, "boom")
  t:equal(t:jobs("alerts")[1].data, { job = "7", error = "boom" })
  s:on_completed({}, { why = "done" })
  t:equal(t:held("out"), { ms = 60000, reason = "done" })
end)
spec("batch", function(t)
  local s = t:script("batch.lua")
  local r = s:perform_batch { { data = {} }, { data = { bad = true } } }
  t:equal(r.result, { n = 2 })
  t:equal(r[1].state, "completed")
  t:equal(r[2].state, "failed") t:equal(r[2].error, "bad")
end)
spec("message", function(t)
  t:secrets { shop = "k" }
  t:script("hook.lua"):message("guest.9", { name = "Ana" })
  t:equal(t:jobs("news")[1].data, { topic = "guest.9", name = "Ana" })
end)
""")


STEPS = """
return { queue = "steps", perform = function(job)
    local a = job:step("fetch", function()
      return http.get("https://api.example/a").json.n
    end)
    job:sleep("1h")
    queue.add_many { { queue = "x", data = { a = a } },
      { queue = "y", data = 2, delay = "1s" } }
    return a
  end }
"""


def test_steps_are_kept_from_run_to_run(check):
    (check.dir / "steps.lua").write_text(STEPS)
    passes(check, """
spec("twice", function(t)
  local s = t:script("steps.lua")
  t:http("GET", "https://api.example/a", { json = { n = 7 } })
  local r = s:perform { data = {} }
  t:equal(r.state, "delayed") t:equal(r.delay, 3600.0)
  t:equal(r.steps[1].name, "fetch") t:equal(r.steps[1].value, 7)
  t:advance("1h")
  r = s:perform { data = {}, steps = r.steps }
  t:equal(r.state, "completed") t:equal(r.result, 7)
  t:equal(#t:requests(), 1)
  t:equal(t:jobs("x")[1].data, { a = 7 })
  t:equal(t:jobs("y")[1].delay, 1000)
end)
""")


def test_webhooks_are_verified(check):
    body = '{"kind":"order","who":"g1","n":3}'
    good = hmac.new(b"k", body.encode(), hashlib.sha256).hexdigest()
    passes(check, """
local function ask(t, body, sign)
  return t:script("hook.lua", { secrets = { shop = "k" } }):hook {
    body = body, headers = { ["X-Sign"] = sign or
    crypto.hmac("k", body) } }
end
spec("a signed one", function(t)
  local r = ask(t, '%s', "%s")
  t:equal(r.status, 202)
  t:equal(#r.jobs, 1)
  t:equal(t:jobs("in")[1].data, { n = 3 })
  t:equal(t:jobs("in")[1].group, "g1")
end)
spec("others", function(t)
  t:equal(ask(t, '{"kind":"ping"}').status, 204)
  t:equal(ask(t, '{"kind":"boom"}').status, 500)
  t:equal(ask(t, '{"kind":"ping"}', "00").status, 401)
  t:equal(#t:jobs(), 0)
end)
""" % (body, good))


def test_a_failure_says_where_and_what(check):
    status, out, _ = check("""spec("one", function(t)
  t:equal({ a = { 1, 2 } }, { a = { 1, 3 } })
end)
spec("two", function(t)
  t:match("abc", "x", "the text")
end)
spec("three", function(t)
  ready(t):perform {}
end)
spec("four", function(t)
  local ok = pcall(function() ready(t):perform {} end)
  t:ok(not ok)
end)
spec("five", function(t) t:script("nothing.lua") end)
spec("six", function(t) local x; return x.y end)
spec("seven", function(t) t:ok(true) end)
""", head="""local function ready(t)
  return t:script("send.lua", { config = { url = "https://a.example/" },
    secrets = { token = "x" } })
end
""")
    assert status == 1
    at = str(check.dir / "a_spec.lua")
    for line in (
            "FAIL one\n  %s:6: expected { a = { 1, 3 } }, got "
            "{ a = { 1, 2 } }\n" % at,
            'FAIL two\n  %s:9: the text: expected text like "x", got "abc"\n'
            % at,
            "FAIL three\n  %s:12: undeclared request: POST "
            "https://a.example/\n" % at,
            "FAIL four\n  %s:15: undeclared request" % at,
            "FAIL five\n  %s:18: " % at,
            "nothing.lua: it cannot be read: No such file",
            "FAIL six\n  %s:19: attempt to index a nil value" % at):
        assert line in out, out
    assert out.endswith("1 passed, 6 failed\n")


def test_words_that_a_spec_does_not_know_fail_it(check):
    status, out, _ = check("""
spec("one", function(t) ready(t):perform { dta = 1 } end)
spec("two", function(t) t:http("GET", "https://a.example/", { stat = 1 }) end)
""", head="""local function ready(t)
  return t:script("send.lua", { config = { url = "https://a.example/" },
    secrets = { token = "x" } })
end
""")
    assert status == 1
    at = str(check.dir / "a_spec.lua")
    assert "%s:6: job: unknown field 'dta'; there are id queue" % at in out
    assert "%s:7: the answer: unknown field 'stat'" % at in out


def test_answers_can_be_recorded_in_a_file(check):
    (check.dir / "answers.json").write_text(
        '[{"method":"POST","url":"https://api.example/send","status":503},'
        '{"method":"POST","url":"https://api.example/send",'
        '"json":{"id":"second"}}]')
    passes(check, """
spec("in their order", function(t)
  local s = ready(t)
  t:http_file("answers.json")
  t:equal(s:perform({ data = {} }).state, "delayed")
  t:equal(s:perform({ data = {}, attempt = 2 }).result.message, "second")
  t:equal(s:perform({ data = {}, attempt = 2 }).result.message, "second")
end)
""")


def test_files_directories_and_exit_codes(check):
    passes(check, 'spec("x", function(t) end)')
    (check.dir / "b_spec.lua").write_text("this is no Lua")
    status, out, _ = check(None)
    assert status == 1 and "1 passed, 1 failed" in out
    assert "%s:1: syntax error" % (check.dir / "b_spec.lua") in out
    status, out, _ = check(None, path=check.dir / "a_spec.lua")
    assert (status, out) == (0, "1 passed, 0 failed\n")
    os.mkdir(check.dir / "empty")
    status, _, err = check(None, path=check.dir / "empty")
    assert status == 1 and "there is no file *_spec.lua" in err
    status, _, err = check(None, path=check.dir / "none")
    assert status == 1 and "No such file" in err
    p = subprocess.run([find_binary("bellhopctl"), "test"], check=False,
                       capture_output=True, text=True, timeout=60)
    assert p.returncode == 2
