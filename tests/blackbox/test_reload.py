# SPDX-License-Identifier: MIT
"""The life of scripts: restarts, reloads, broken ones. Each test has a daemon
of its own."""
import re
import signal

import pytest

from daemon import wait_until
from lua import fetch_json, run, script
from resp import RespError

STALL = """
return {
  queue = "stall", max_stalled = 5,
  perform = function(job)
    if job.attempt == 1 then sleep("60s") end
    return job.attempt
  end,
  on_stalled = function(job)
    queue.add("stalled.out", { job = job.id })
  end,
}
"""


def test_kill_9_under_a_handler(make):
    d = make(scripts={"stall.lua": STALL})
    c = d.client()
    id = c.add("stall", "x")
    wait_until(lambda: c.state(id) == "active", "the handler")
    d.kill9()
    d.start()
    c = d.client()
    job = c.completed(id)
    assert job["result"] == "2"
    assert job["stalled"] == 1
    assert job.get("error_count", 0) == 0
    assert fetch_json(c, "stalled.out")["job"] == id


def test_a_poison_pill_kills_a_few_times_only(make):
    d = make(scripts={"hang.lua": script("hang", "sleep('60s')",
                                         "max_stalled = 1,")})
    c = d.client()
    id = c.add("hang", "x")
    for _ in range(2):
        wait_until(lambda: d.client().state(id) == "active", "the handler")
        d.kill9()
        d.start()
    job = d.client().failed(id)
    assert job["stalled"] == 2
    assert job.get("error_count", 0) == 0


def test_a_callback_that_was_cut_off_runs_again(make):
    source = """
return {
  queue = "cb", attempts = 1,
  perform = function(job) error("boom") end,
  on_failed = function(job, err)
    queue.add("cb.began", { job = job.id })
    sleep(config.nap)
    queue.add("cb.ended", { job = job.id, error = err })
  end,
}
"""
    d = make(config='config = { nap = "60s"; };', scripts={"cb.lua": source})
    c = d.client()
    id = c.add("cb", "x")
    assert fetch_json(c, "cb.began")["job"] == id
    assert c.state(id) == "failed"
    d.kill9()
    d.write_config(config='config = { nap = "1ms"; };')
    d.start()
    c = d.client()
    r = fetch_json(c, "cb.ended")
    assert r["job"] == id and "boom" in r["error"]


def version(d, text):
    d.write_script("v.lua", script("v", "return '%s'" % text))


@pytest.mark.parametrize("how", ["sighup", "command", "ctl"])
def test_reload(make, how):
    d = make()
    c = d.client()
    version(d, "one")
    d.reload_ok()
    assert run(c, "v") == "one"
    version(d, "two")
    if how == "sighup":
        d.signal(signal.SIGHUP)
        wait_until(lambda: run(c, "v") == "two", "the new version")
    elif how == "ctl":
        d.ctl_ok("reload")
        assert run(c, "v") == "two"
    else:
        d.reload_ok()
        assert run(c, "v") == "two"


def test_a_changed_file_is_loaded(make):
    d = make(scripts={"v.lua": script("v", "return 'one'")})
    c = d.client()
    assert run(c, "v") == "one"
    version(d, "two")
    wait_until(lambda: run(c, "v") == "two", "the new version")


def test_a_new_file_is_loaded_and_a_removed_one_forgotten(make):
    d = make()
    c = d.client()
    early = c.add("v", "x")
    version(d, "one")
    assert c.completed(early)["result"] == '"one"'
    d.remove_script("v.lua")
    d.reload()
    id = c.add("v", "x")
    assert c.why(id)["gate"] == "no_handler"
    assert c.state(id) == "waiting"


def test_a_broken_script_keeps_the_old_version(make):
    d = make(scripts={"v.lua": script("v", "return 'one'")})
    c = d.client()
    d.write_script("v.lua", "return {\n queue = 'v',\n oops oops\n}\n")
    r = d.reload()
    assert isinstance(r, RespError)
    assert re.search(r"v\.lua:[34]: ", r.line)
    ctl = d.ctl("reload")
    assert ctl.status == 1
    assert re.search(r"v\.lua:[34]: ", ctl.err + ctl.out)
    assert run(c, "v") == "one"
    version(d, "two")
    d.reload_ok()
    assert run(c, "v") == "two"


@pytest.mark.parametrize("source, cause", [
    ("return {\n queue = 'w', perform = 5 }", "perform"),
    ("return {\n queue = 'a b', perform = print }", "queue"),
    ("return { perform = function() end }", "queue"),
    ("return 5", "table"),
    ("error('no luck')", "no luck"),
    ("return {\n queue = 'w', wight = 3, perform = function() end }",
     "wight"),
    ("return {\n queue = 'w', weight = 'x', perform = function() end }",
     "weight"),
    ("return {\n queue = 'w', timeout = 'soon', perform = function() end }",
     "timeout"),
    ("return { queue = 'w', backoff = { type = 'odd' }, "
     "perform = function() end }", "backoff"),
    ("while true do end", "cpu"),
    ("local t = {} while true do t[#t+1] = ('x'):rep(1000000) .. #t end",
     "memory"),
], ids=["perform", "queue", "noqueue", "notable", "error", "unknown",
        "weight", "timeout", "backoff", "endless", "memory"])
def test_refused_scripts(make, source, cause):
    d = make({"script_cpu": "2s"}, start=False)
    d.write_script("w.lua", source)
    d.start()
    r = d.reload()
    assert isinstance(r, RespError)
    assert "w.lua" in r.line
    assert cause in r.line.lower()
    assert "w.lua" in d.err_text()


def test_a_queue_that_never_loaded_costs_no_attempt(make):
    d = make(scripts={"v.lua": "return { queue = 'v', perform = }"})
    c = d.client()
    id = c.add("v", "x")
    assert c.state(id) == "waiting"
    version(d, "mended")
    job = c.completed(id)
    assert job["result"] == '"mended"'
    assert job["attempt"] == 1


def test_a_running_job_ends_on_the_version_it_began_with(make):
    slow = script("v", "local w = '%s' queue.add('began', w) "
                  "while queue.stats('go').waiting == 0 do sleep('20ms') "
                  "end return w")
    d = make(scripts={"v.lua": slow % "old"})
    c = d.client()
    id = c.add("v", "x")
    c.fetch1("began")
    d.write_script("v.lua", slow % "new")
    d.reload_ok()
    second = c.add("v", "y")
    c.add("go", "x")
    assert c.completed(id)["result"] == '"old"'
    assert c.completed(second)["result"] == '"new"'


def test_each_error_names_its_version(make):
    bad = script("v", "error('%s')",
                 "backoff = { type = 'fixed', delay = '1h' },")
    d = make(scripts={"v.lua": bad % "one"})
    c = d.client()
    id = c.add("v", "x")
    wait_until(lambda: c.state(id) == "delayed", "the first error")
    d.write_script("v.lua", bad % "two")
    d.reload_ok()
    c.call("JOB.PROMOTE", id)
    wait_until(lambda: c.get(id)["error_count"] == 2, "the second error")
    first, second = c.get(id)["errors"]
    assert "one" in first["message"] and "two" in second["message"]
    assert first["version"] != second["version"]
    assert second["version"] in str(c.call("BELLHOP", "SCRIPTS"))


def test_two_scripts_may_not_serve_one_queue(make):
    d = make(scripts={"a.lua": script("same", "return 'a'"),
                      "b.lua": script("same", "return 'b'")})
    c = d.client()
    assert run(c, "same") == "a"
    r = d.reload()
    assert isinstance(r, RespError)
    assert "b.lua" in r.line and "a.lua" in r.line and "same" in r.line


def test_script_options_are_the_queues(make):
    d = make(scripts={"o.lua": script(
        "o", "sleep('60s')", "concurrency = 2, attempts = 7, "
        "rate = { limit = 100, per = '1s' }, max_waiting = 3,")})
    c = d.client()
    ids = [c.add("o", "x") for _ in range(2)]
    wait_until(lambda: c.stats("o")["active"] == 2, "two handlers")
    ids += [c.add("o", "x") for _ in range(3)]
    assert c.error("JOB.ADD", "o", "x").word == "QUEUEFULL"
    assert c.stats("o")["active"] == 2
    assert c.get(ids[0])["attempts"] == 7
    assert c.why(ids[4])["gate"] == "concurrency"
    for id in ids[2:]:
        c.call("JOB.REMOVE", id)
    for id in ids[:2]:
        c.call("JOB.CANCEL", id)
        c.failed(id)


def test_the_configuration_beats_the_script(make):
    d = make(config='queues = ( { name = "o"; max_waiting = 1; } );',
             scripts={"o.lua": script("o", "return 1", "max_waiting = 50,")})
    c = d.client()
    c.call("QUEUE.PAUSE", "o")
    c.add("o", "x")
    assert c.error("JOB.ADD", "o", "x").word == "QUEUEFULL"


def test_scripts_keep_group_order(make):
    d = make(scripts={"g.lua": script(
        "g", "sleep('1ms') return job.data", "concurrency = 20,")})
    c = d.client()
    ids = [c.add("g", str(n), GROUP="g%d" % (n % 3)) for n in range(30)]
    jobs = [c.completed(id) for id in ids]
    for group in range(3):
        mine = jobs[group::3]
        for a, b in zip(mine, mine[1:]):
            assert a["finished_at"] <= b["started_at"]
