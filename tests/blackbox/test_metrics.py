# SPDX-License-Identifier: MIT
"""Figures, health, and news of jobs as a stream."""
import json
import os
import re
import subprocess

import pytest

from daemon import TOP, find_binary, wait_until
from exposition import parse, value
from resp import RespError

SCRIPTS = {
    "work.lua": """
return { queue = "work", attempts = 1,
  perform = function(job) if job.body == "bad" then error("no") end end }
""",
    "broken.lua": "return {\n",
}
PLUGINS = ["skeleton"]


def metrics(c):
    return parse(c.call("BELLHOP", "METRICS"))


def test_the_exposition_is_strict(c):
    m = metrics(c)
    assert value(m, "bellhop_process_start_time_seconds") > 1e9
    assert value(m, "bellhop_process_resident_memory_bytes") > 1 << 20
    assert value(m, "bellhop_process_threads") >= 3
    assert 3 <= value(m, "bellhop_process_open_fds") < value(
        m, "bellhop_process_max_fds")
    assert value(m, "bellhop_process_cpu_seconds_total") >= 0
    assert list(m["bellhop_info"].samples.values()) == [1]
    assert all(name.startswith("bellhop_") for name in m)


def test_every_figure_is_documented(c):
    with open(os.path.join(TOP, "doc", "METRICS.md"), encoding="utf-8") as f:
        documented = set(re.findall(r"`(bellhop_[a-z_]+)[{`]", f.read()))
    have = {n for n in metrics(c) if not n.startswith("bellhop_skeleton_")}
    assert have == documented


def test_queues_are_counted(c, q):
    c.add(q, "a")
    c.add(q, "b", DELAY=60000)
    c.fail(c.fetch1(q), "x", FINAL=True)
    c.call("QUEUE.PAUSE", q)
    m = metrics(c)
    assert {dict(k[1])["state"]: v for k, v in
            m["bellhop_jobs"].samples.items() if dict(k[1])["queue"] == q} \
        == {"waiting": 0, "delayed": 1, "active": 0, "completed": 0,
            "failed": 1}
    assert value(m, "bellhop_jobs_processed_total", queue=q) == 1
    assert value(m, "bellhop_jobs_failed_total", queue=q) == 1
    assert value(m, "bellhop_jobs_added_total", queue=q) == 2
    assert value(m, "bellhop_jobs_completed_total", queue=q) == 0
    assert value(m, "bellhop_jobs_retried_total", queue=q) == 0
    assert value(m, "bellhop_job_run_seconds", "_count", queue=q) == 1
    assert value(m, "bellhop_job_run_seconds", "_bucket", queue=q,
                 le="300") <= 1
    assert value(m, "bellhop_job_run_seconds", "_bucket", queue=q,
                 le="+Inf") == 1
    assert value(m, "bellhop_queue_paused", queue=q) == 1
    assert value(m, "bellhop_queue_held", queue=q) == 0


def test_schedules_are_shown(c, q):
    c.call("SCHEDULE.SET", q, q, "{}", "CRON", "0 6 * * *")
    m = metrics(c)
    assert value(m, "bellhop_schedule_next_time_seconds", schedule=q) > 1e9
    for outcome in ("ran", "late", "skipped"):
        assert value(m, "bellhop_schedule_ticks", schedule=q,
                     outcome=outcome) == 0


@pytest.mark.embedded("figures of the own store")
def test_scripts_and_commits(c):
    before = metrics(c)
    job = c.call("JOB.WAIT", c.add("work", "good"), 30000)
    assert job["state"] == "completed"
    m = metrics(c)
    assert value(m, "bellhop_commits_total") > value(
        before, "bellhop_commits_total")
    assert value(m, "bellhop_commit_seconds", quantile="0.99") > 0
    assert value(m, "bellhop_scripts") == 2
    assert value(m, "bellhop_scripts_broken") == 1
    assert value(m, "bellhop_script_threads") >= 1
    assert value(m, "bellhop_handler_slots") == 1024
    assert value(m, "bellhop_backend_accepting", backend="embedded") == 1


def test_connections_and_errors(bh, c):
    before = metrics(c)
    with bh.client() as other:
        assert other.error("JOB.GET", "none").word == "BADARG"
        m = metrics(c)
        assert value(m, "bellhop_connections", door="resp") == value(
            before, "bellhop_connections", door="resp") + 1
    assert value(m, "bellhop_command_errors_total") == value(
        before, "bellhop_command_errors_total") + 1


@pytest.mark.embedded("figures of the own store")
def test_keys_are_counted(c):
    before = metrics(c)
    c.call("SET", "some:key", "v")
    c.call("SET", "cache:key", "v")
    c.call("GET", "some:key")
    c.call("GET", "no:key")
    m = metrics(c)
    for policy in ("durable", "volatile"):
        assert value(m, "bellhop_keys", policy=policy) == value(
            before, "bellhop_keys", policy=policy) + 1
        assert value(m, "bellhop_keys_memory_bytes", policy=policy) > value(
            before, "bellhop_keys_memory_bytes", policy=policy)
    assert value(m, "bellhop_key_hits_total") > value(
        before, "bellhop_key_hits_total")
    assert value(m, "bellhop_key_misses_total") > value(
        before, "bellhop_key_misses_total")


def test_a_plugin_adds_its_own(c, q):
    before = value(metrics(c), "bellhop_skeleton_events_total")
    c.add(q, "a")
    assert value(metrics(c), "bellhop_skeleton_events_total") > before


def test_a_token_sees_its_queues_only(bh, c):
    c.add("private", "x")
    c.add("public.a", "x")
    token = c.call("BELLHOP", "TOKEN", "ADD", "eye", "reader", "public.*")
    with bh.client(tcp=True) as other:
        other.call("AUTH", token)
        seen = {dict(k[1])["queue"]
                for k in metrics(other)["bellhop_jobs"].samples}
    assert "public.a" in seen and "private" not in seen


# Health.

def test_health(c):
    h = c.call("BELLHOP", "HEALTH")
    assert h["live"] is True and h["ready"] is True
    assert {x["name"] for x in h["checks"]} == {
        "backend", "store", "scripts", "shutdown", "plugin"}
    assert all(x["ok"] is True for x in h["checks"])


def test_an_ill_plugin_is_not_ready(make):
    d = make(plugins=["skeleton"], start=False)
    ill = os.path.join(d.root, "ill")
    d.env["BELLHOP_SKELETON_ILL"] = ill
    d.start()
    c = d.client()
    assert c.call("BELLHOP", "HEALTH")["ready"] is True
    assert d.ctl_json("status")["ready"] is True
    with open(ill, "w", encoding="utf-8"):
        pass
    h = c.call("BELLHOP", "HEALTH")
    assert h["ready"] is False and h["live"] is True
    said = "skeleton: %s is there" % ill
    assert [x for x in h["checks"] if not x["ok"]] == [
        {"name": "plugin", "ok": False, "text": said}]
    assert "Not ready: " + said in d.ctl_ok("status")
    assert d.ctl_json("status")["ready"] is False


# News.

def test_a_stream_of_events(bh, q):
    with bh.client() as watcher, bh.client() as c:
        assert watcher.call("BELLHOP", "EVENTS", q) == "OK"
        c.add(q + ".other", "x")
        id = c.add(q, "x")
        c.done(c.fetch1(q))
        seen = []
        while not seen or seen[-1]["event"] != "completed":
            seen.append(json.loads(watcher.read()))
        assert [e["event"] for e in seen] == ["added", "active", "completed"]
        assert all(e["id"] == id and e["queue"] == q for e in seen)
        assert seen[1]["attempt"] == 1
        # RESET ends it.
        assert watcher.call("RESET") == "RESET"
        c.add(q, "y")
        watcher.call("HELLO", 3)
        assert watcher.call("PING") == "PONG"


def test_events_keep_to_the_queues_of_a_token(bh, c):
    token = c.call("BELLHOP", "TOKEN", "ADD", "ear", "reader", "open.*")
    with bh.client(tcp=True) as watcher:
        watcher.call("AUTH", token)
        assert watcher.call("BELLHOP", "EVENTS") == "OK"
        c.add("closed", "x")
        id = c.add("open.1", "x")
        assert json.loads(watcher.read())["id"] == id


def test_events_need_a_pattern_that_can_match(c):
    assert c.error("BELLHOP", "EVENTS", "x" * 300).word == "BADARG"
    assert c.error("BELLHOP", "EVENTS", "a", "b") == RespError(
        "ERR syntax error")


def test_bellhopctl_shows_events(bh, c, q):
    p = subprocess.Popen(
        [find_binary("bellhopctl"), "--socket", bh.sock, "--config", bh.conf,
         "--json", "events", q, "--count", "2"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    wait_until(lambda: value(metrics(c), "bellhop_subscribers") == 1,
               "the subscription")
    c.add(q, "x")
    c.fail(c.fetch1(q), "bad luck", FINAL=True)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    assert [json.loads(x)["event"] for x in out.splitlines()] == [
        "added", "active"]


def test_bellhopctl_shows_events_to_people(bh, c, q):
    p = subprocess.Popen(
        [find_binary("bellhopctl"), "--socket", bh.sock, "--config", bh.conf,
         "events", q, "--count", "3"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    wait_until(lambda: value(metrics(c), "bellhop_subscribers") == 1,
               "the subscription")
    id = c.add(q, "x")
    c.fail(c.fetch1(q), "bad luck", FINAL=True)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[2].split()[2:5] == ["failed", q, id]
    assert lines[2].endswith("bad luck")
