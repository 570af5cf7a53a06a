# SPDX-License-Identifier: MIT
"""Batches: jobs that one call of perform_batch gets together."""
import json
import os
import time

import pytest

from daemon import TOP, wait_until
from lua import fetch_json


def batch(queue, body, batch="", options=""):
    """A script whose perform_batch(jobs) has this body."""
    return """
local function ids(jobs)
  local list = {}
  for i, job in ipairs(jobs) do list[i] = job.id end
  return list
end
return {
  queue = "%s", batch = { %s }, %s
  perform_batch = function(jobs)
%s
  end,
}
""" % (queue, batch, options, body)


# Answers with who was in it and when it began.
TELL = "return { ids = ids(jobs), at = now() }"

SCRIPTS = {
    "guest.lua": batch("guest", TELL, "window = '150ms'"),
    "quiet.lua": batch("quiet", TELL, "window = '1h', quiet = '100ms'"),
    "max.lua": batch("max", TELL, "window = '1h', max = 3"),
    "slow.lua": batch(
        "slow", "while jobs[1].data == 'slow' and not jobs[1]:cancelled() do "
        "sleep('20ms') end " + TELL,
        "window = '10ms'"),
    "parts.lua": batch(
        "parts", "jobs[1]:fail('bad') jobs[2]:retry('1h', 'later') "
        "jobs[3]:snooze('1h', 'not now') return 'rest'",
        "window = '1h', max = 5"),
    "error.lua": batch("error", "error('boom', 0)", "window = '1h', max = 2",
                       "attempts = 1, on_failed = function(job, err) "
                       "queue.add('told', { id = job.id, err = err }) end,"),
    "rate.lua": batch("rate", TELL, "window = '10ms', max = 10",
                      "rate = { limit = 20, per = '1s', burst = 3 },"),
    "cancel.lua": batch(
        "cancel", "jobs[1]:progress('on') local seen = false "
        "while queue.get(jobs[2].id).state == 'active' do "
        "seen = seen or jobs[2]:cancelled() sleep('20ms') end "
        "return { seen = seen, other = jobs[1]:cancelled() }",
        "window = '1h', max = 2"),
    "step.lua": batch(
        "step", "local job = jobs[1] "
        "local first = job:step('a', function() return job.attempt end) "
        "if job.attempt == 1 then job:retry(0, 'once more') end "
        "return { first, job.attempt, (select(2, pcall(job.sleep, job, "
        "'1h'))) }", "max = 1"),
}


def seen(c, id):
    return json.loads(c.completed(id)["result"])


def test_one_guests_messages_are_one_call_in_order(c):
    mine = c.madd("guest", list("01234"), GROUP="five")
    results = [seen(c, id) for id in mine]
    assert [r["ids"] for r in results] == [mine] * 5


def test_guests_do_not_wait_for_each_other(c):
    slow = c.add("slow", '"slow"', GROUP="a")
    wait_until(lambda: c.state(slow) == "active")
    other = c.madd("slow", ["1", "2"], GROUP="b")
    assert seen(c, other[0])["ids"] == other
    assert c.state(slow) == "active"
    behind = c.add("slow", "2", GROUP="a")
    why = c.why(behind)
    assert why["gate"] == "group" and slow in why["text"]
    c.call("JOB.CANCEL", slow)
    assert seen(c, behind)["ids"] == [behind]


def test_quiet_ends_the_window(c):
    mine = c.madd("quiet", ["x"] * 3)
    assert seen(c, mine[2])["ids"] == mine


def test_max_ends_the_window(c):
    mine = c.madd("max", ["x"] * 4, GROUP="g")
    assert seen(c, mine[0])["ids"] == mine[:3]
    why = c.why(mine[3])
    assert why["gate"] == "delayed"
    assert "batch is gathering" in why["text"]
    assert 3500 < int(why["until"]) / 1000 - time.time() < 3700
    # An outside worker needs no window.
    job = c.fetch1("max")
    assert job["id"] == mine[3]
    c.done(job)


def test_jobs_without_a_group_come_by_priority(c):
    mine = [c.add("max", "x", PRIORITY=p) for p in (9, 0, 5)]
    assert seen(c, mine[0])["ids"] == [mine[1], mine[2], mine[0]]


def test_each_job_may_have_an_end_of_its_own(c):
    mine = [c.add("parts", "x", GROUP="g") for _ in range(5)]
    assert json.loads(c.completed(mine[3])["result"]) == "rest"
    assert json.loads(c.completed(mine[4])["result"]) == "rest"
    failed = c.failed(mine[0])
    assert failed["error"] == "bad"
    retried, snoozed = c.get(mine[1]), c.get(mine[2])
    assert retried["state"] == "delayed" and retried["attempt"] == 1
    assert retried["errors"][0]["message"] == "later"
    assert snoozed["state"] == "delayed" and snoozed["attempt"] == 0
    for id in mine[1:3]:
        c.call("JOB.REMOVE", id)


def test_an_error_is_each_jobs_error(c):
    mine = [c.add("error", "x") for _ in range(2)]
    assert [c.failed(id)["error"] for id in mine] == ["boom", "boom"]
    told = [fetch_json(c, "told") for _ in mine]
    assert sorted(t["id"] for t in told) == sorted(mine)
    assert {t["err"] for t in told} == {"boom"}


def test_a_batch_takes_a_token_for_each_job(c):
    mine = c.madd("rate", ["x"] * 10)
    sizes = [len(seen(c, id)["ids"]) for id in mine]
    assert sizes[:3] == [3, 3, 3] and max(sizes) == 3
    # 3 tokens at once, the others 50 ms apart.
    started = [int(c.get(id)["started_at"]) for id in mine]
    assert max(started) - min(started) >= 349


def test_cancel_of_one_job_spares_the_others(c):
    mine = [c.add("cancel", "x") for _ in range(2)]
    wait_until(lambda: c.get(mine[0]).get("progress") == "on")
    c.call("JOB.CANCEL", mine[1], "not wanted")
    assert "cancelled" in c.failed(mine[1])["error"]
    assert seen(c, mine[0]) == {"seen": True, "other": False}


def test_a_job_of_a_batch_has_steps_and_may_not_sleep(c):
    first, attempt, why = seen(c, c.add("step", "x"))
    assert (first, attempt) == (1, 2)
    assert "perform_batch" in why


@pytest.mark.embedded("doctor reads bellhop.db")
def test_a_batch_survives_a_killed_daemon(make):
    d = make(scripts={"a.lua": batch(
        "a", "queue.add('begun', ids(jobs)) "
        "if jobs[1].attempt == 1 then sleep('1h') end "
        "return #jobs", "window = '50ms'", "timeout = '2h',")})
    c = d.client()
    mine = c.madd("a", list("01234"), GROUP="g")
    assert fetch_json(c, "begun") == mine
    late = c.add("a", "5", GROUP="g")
    d.kill9()
    d.start()
    c = d.client()
    assert fetch_json(c, "begun") == mine + [late]
    assert json.loads(c.completed(late)["result"]) == 6
    first = c.completed(mine[0])
    assert first["attempt"] == 2 and first["stalled"] == 1
    assert c.get(late)["attempt"] == 1
    assert d.ctl("doctor").status == 0


def test_a_window_goes_on_over_a_restart(make):
    d = make(scripts={"a.lua": batch("a", TELL, "window = '3s'")})
    c = d.client()
    mine = c.madd("a", ["x", "x"])
    begun = time.time()
    d.restart()
    c = d.client()
    assert seen(c, mine[0])["ids"] == mine
    assert time.time() - begun >= 2.9


def test_a_dry_run_is_a_batch_of_one(make, tmp_path):
    d = make(start=False)
    file = tmp_path / "a.lua"
    file.write_text(batch("a", "return { n = #jobs, x = jobs[1].data.x }"))
    out = d.ctl_ok("script", "run", str(file), "--data", '{"x":7}')
    assert '"n":1' in out and '"x":7' in out
    assert "perform_batch" in d.ctl_ok("script", "check", str(file))
    file.write_text(batch("a", "jobs[1]:fail('no guest')"))
    r = d.ctl("script", "run", str(file), "--data", "1")
    assert r.status == 1 and "no guest" in r.err


def test_a_script_may_begin_and_cease_to_batch(make):
    plain = 'return { queue = "a", perform = function(job) return 1 end }'
    d = make(scripts={"a.lua": batch("a", "return #jobs",
                                     "window = '1h', max = 3")})
    c = d.client()
    mine = [c.add("a", "x", GROUP="g") for _ in range(2)]
    assert c.why(mine[0])["gate"] == "delayed"
    d.write_script("a.lua", plain)
    d.reload_ok()
    assert json.loads(c.completed(mine[1])["result"]) == 1
    d.write_script("a.lua", batch("a", "return #jobs",
                                  "window = '1h', max = 2"))
    d.reload_ok()
    mine = [c.add("a", "x", GROUP="g") for _ in range(2)]
    assert json.loads(c.completed(mine[1])["result"]) == 2


def test_the_example_gathers_what_a_guest_types(make):
    with open(os.path.join(TOP, "scripts", "gather.lua"),
              encoding="utf-8") as f:
        d = make(scripts={"gather.lua": f.read().replace('"3s"', '"50ms"')})
    c = d.client()
    mine = c.madd("inbound", ['{"text":"Hello"}', '"?"', '{"text":"pool?"}'],
                  GROUP="guest.9")
    answer = c.fetch1("answers")
    assert json.loads(answer["payload"]) == {"text": "Hello\npool?"}
    assert answer["group"] == "guest.9"
    c.done(answer)
    assert c.failed(mine[1])["error"] == "expected {text}"
    assert json.loads(c.completed(mine[2])["result"]) == {"pieces": 2}
