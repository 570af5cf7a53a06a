# SPDX-License-Identifier: MIT
"""Schedules: commands, scripts, kill -9, a clock that jumps."""
import datetime
import os
import random
import sqlite3
import time

import pytest

from daemon import wait_until
from lua import script

HOUR = 3600 * 1000
DAY = 24 * HOUR


def wall_ms():
    return int(time.time() * 1000)


def schedule(c, name):
    rows = c.call("SCHEDULE.LIST", name)
    return rows[0] if rows else None


# --- commands

def test_set_answers_with_the_next_time(c, q):
    before = wall_ms()
    at = c.call("SCHEDULE.SET", "s." + q, q, '{"n":1}', "EVERY", 3600000)
    assert before + HOUR <= at <= wall_ms() + HOUR
    at = c.call("SCHEDULE.SET", "c." + q, q, "x", "CRON", "30 6 * * *",
                "TZ", "Asia/Kolkata", "MISFIRE", "ALL", "overlap", "queue",
                "PRIORITY", 2, "GROUP", "TZ", "BACKOFF", "FIXED", 500,
                "JITTER", 0.5, "UNIQUE", "k", "MODE", "REPLACE",
                "DELAY", 1000)
    t = datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc)
    assert (t.hour, t.minute, t.second) == (1, 0, 0)
    s = schedule(c, "c." + q)
    created = s.pop("created_at")
    assert before <= created <= wall_ms()
    assert s == {
        "name": "c." + q, "queue": q, "payload": "x", "cron": "30 6 * * *",
        "tz": "Asia/Kolkata", "misfire": "all", "overlap": "queue",
        "next_at": at, "ticks": [], "options": {
            "priority": 2, "group": "TZ", "backoff": "fixed",
            "backoff_ms": 500, "backoff_jitter": 0.5, "unique": "k",
            "unique_mode": "replace", "delay_ms": 1000}}
    assert "every_ms" in schedule(c, "s." + q)
    names = [s["name"] for s in c.call("SCHEDULE.LIST")]
    assert names == sorted(names)
    assert {"s." + q, "c." + q} <= set(names)


def test_ticks_run_and_are_recorded(c, q):
    c.call("SCHEDULE.SET", "t." + q, q, '{"n":1}', "EVERY", 100, "PRIORITY",
           1)
    job = c.fetch1(q, BLOCK=20000)
    assert job["payload"] == '{"n":1}' and job["priority"] == 1
    wait_until(lambda: schedule(c, "t." + q)["ticks"][0]["outcome"] ==
               "skipped", "a tick while the job is active")
    c.done(job)
    again = c.fetch1(q, BLOCK=20000)
    c.call("SCHEDULE.DEL", "t." + q)
    assert again["id"] != job["id"]
    assert schedule(c, "t." + q) is None
    ticks = c.error("SCHEDULE.DEL", "t." + q)
    assert ticks.word == "NOTFOUND" and "t." + q in ticks.text


@pytest.mark.parametrize("args, word, text", [
    (("s", "q", "x", "CRON", "61 * * * *"), "BADARG", "minute: '61'"),
    (("s", "q", "x", "CRON", "* * *"), "BADARG", "3 fields"),
    (("s", "q", "x", "CRON", "0 0 30 2 *"), "BADARG", "never"),
    (("s", "q", "x", "CRON", ""), "BADARG", "empty"),
    (("s", "q", "x", "CRON", "@daily", "TZ", "Mars/Base"), "BADARG",
     "Mars/Base"),
    (("s", "q", "x", "CRON", "@daily", "TZ", "../etc/passwd"), "BADARG",
     "time zone"),
    (("s", "q", "x", "EVERY", "0"), "BADARG", "EVERY: '0'"),
    (("s", "q", "x", "EVERY", "5m"), "BADARG", "EVERY: '5m'"),
    (("s", "q", "x", "EVERY", "5", "TZ", "UTC"), "BADARG", "TZ"),
    (("s", "q", "x", "EVERY", "5", "CRON", "@daily"), "ERR", "either"),
    (("s", "q", "x", "PRIORITY", "5"), "ERR", "either CRON"),
    (("s", "q", "x", "EVERY", "5", "EVERY", "5"), "BADARG", "twice"),
    (("s", "q", "x", "EVERY", "5", "MISFIRE", "never"), "BADARG",
     "'never' is none of skip, once, all"),
    (("s", "q", "x", "EVERY", "5", "OVERLAP"), "ERR", "OVERLAP"),
    (("s", "q", "x", "EVERY", "5", "AT", "99"), "BADARG", "AT"),
    (("s", "q", "x", "EVERY", "5", "NONSENSE", "1"), "ERR", "NONSENSE"),
    (("s", "q q", "x", "EVERY", "5"), "BADARG", "q q"),
    (("", "q", "x", "EVERY", "5"), "BADARG", "name"),
    (("a\nb", "q", "x", "EVERY", "5"), "BADARG", "name"),
    (("n" * 257, "q", "x", "EVERY", "5"), "TOOBIG", "name"),
    (("s", "q", "x" * 1048577, "EVERY", "5"), "TOOBIG", "max_payload"),
])
def test_errors_are_clear(c, args, word, text):
    e = c.error("SCHEDULE.SET", *args)
    assert e.word == word and text in e.text, e.text
    assert schedule(c, "s") is None


def test_preview(c):
    got = c.call("SCHEDULE.PREVIEW", "30 1 * * *", "TZ", "Europe/Lisbon",
                 "COUNT", 3, "AFTER", 1774656000000)    # 2026-03-28 UTC
    assert got == [1774661400000, 1774746000000, 1774830600000]
    assert len(c.call("SCHEDULE.PREVIEW", "* * * * * *")) == 5
    assert "hour: '25'" in c.error("SCHEDULE.PREVIEW", "0 25 * * *").text


def test_max_schedules(make):
    d = make({"max_schedules": 2})
    c = d.client()
    for name in "ab":
        c.call("SCHEDULE.SET", name, "q", "x", "EVERY", HOUR)
    e = c.error("SCHEDULE.SET", "c", "q", "x", "EVERY", HOUR)
    assert e.word == "QUEUEFULL" and "max_schedules is 2" in e.text
    c.call("SCHEDULE.SET", "a", "q", "y", "EVERY", HOUR)


def token(d, name, role, *patterns):
    args = ["token", "add", name, "--role", role]
    for p in patterns:
        args += ["--queue", p]
    return d.ctl_json(*args)["token"]


def test_roles_and_queue_patterns(make):
    d = make()
    admin = d.client()
    admin.call("SCHEDULE.SET", "mail", "mail.out", "x", "EVERY", HOUR)
    admin.call("SCHEDULE.SET", "bill", "bill.out", "x", "EVERY", HOUR)
    c = d.client()
    c.call("AUTH", token(d, "r", "reader"))
    assert len(c.call("SCHEDULE.LIST")) == 2
    assert c.call("SCHEDULE.PREVIEW", "@daily", "COUNT", 1)
    assert c.error("SCHEDULE.DEL", "mail").word == "NOPERM"
    c.call("AUTH", token(d, "p", "producer"))
    assert c.error("SCHEDULE.SET", "x", "mail.out", "x", "EVERY",
                   HOUR).word == "NOPERM"
    c.call("AUTH", token(d, "o", "operator", "mail.*"))
    assert [s["name"] for s in c.call("SCHEDULE.LIST")] == ["mail"]
    assert c.call("SCHEDULE.LIST", "bill") == []
    assert c.error("SCHEDULE.DEL", "bill").word == "NOPERM"
    # Neither into a foreign queue nor over a foreign row.
    assert c.error("SCHEDULE.SET", "new", "bill.out", "x", "EVERY",
                   HOUR).word == "NOPERM"
    assert c.error("SCHEDULE.SET", "bill", "mail.out", "x", "EVERY",
                   HOUR).word == "NOPERM"
    assert c.call("SCHEDULE.SET", "mail", "mail.out", "y", "EVERY", HOUR)
    assert c.call("SCHEDULE.DEL", "mail") == "OK"
    assert [s["name"] for s in admin.call("SCHEDULE.LIST")] == ["bill"]


# --- bellhopctl

def test_ctl(bh, c, q):
    name = "ctl " + q
    out = bh.ctl_ok("schedule", "set", name, q, '{"a":1}', "--cron",
                    "0 6 * * *", "--tz", "Europe/Lisbon", "--misfire", "skip",
                    "--overlap", "queue", "--priority", "3", "--unique", "u",
                    "--unique-ttl", "1h", "--backoff", "fixed:2s")
    assert name in out and "in" in out
    s = schedule(c, name)
    assert s["options"] == {"priority": 3, "unique": "u", "unique_ttl_ms":
                            HOUR, "backoff": "fixed", "backoff_ms": 2000}
    assert (s["misfire"], s["overlap"]) == ("skip", "queue")
    table = bh.ctl_ok("schedule", "list")
    assert name in table and "0 6 * * * Europe/Lisbon" in table
    assert "client" in table
    assert "next_at" in bh.ctl_ok("schedule", "list", name)
    rows = bh.ctl_json("schedule", "list", name)
    assert rows[0]["name"] == name and rows[0]["payload"] == {"a": 1}
    assert bh.ctl("schedule", "set", "x", q).status == 2
    assert bh.ctl("schedule", "set", "x", q, "--every", "soon").status == 2
    r = bh.ctl("schedule", "set", "x", q, "--cron", "1 2 3")
    assert r.status == 1 and "3 fields" in r.err
    assert bh.ctl("schedule", "list", "no such").status == 1
    assert bh.ctl_ok("schedule", "del", name).strip() == "OK"
    assert bh.ctl("schedule", "del", name).status == 1


def test_ctl_preview_needs_no_daemon(make):
    d = make(start=False)
    d.write_config()
    out = d.ctl_ok("schedule", "preview", "30 1 * * *", "--tz",
                   "Europe/Lisbon", "--count", 3, "--after",
                   "2026-03-28T00:00Z")
    lines = out.splitlines()
    assert lines[1].startswith("2026-03-28 01:30:00 +0000  2026-03-28 01:30")
    assert lines[2].startswith("2026-03-29 02:00:00 +0100  2026-03-29 01:00")
    assert len(lines) == 4
    got = d.ctl_json("schedule", "preview", "@hourly", "--after", "@0",
                     "--count", 2)
    assert got == [3600000, 7200000]
    r = d.ctl("schedule", "preview", "0 0 * * MOON")
    assert r.status == 1 and "day of week: 'MOON'" in r.err
    assert d.ctl("schedule", "preview", "@daily", "--count", 0).status == 2


# --- scripts

NIGHT = """
return {
  queue = "night",
  perform = function(job) return job.data.n end,
  schedule = {
    { cron = "0 6 * * *", tz = "Europe/Lisbon", data = { n = 1 } },
    { every = "%s", data = { n = 7 }, name = "often", priority = 2 },
  },
}
"""


def declared(c, names):
    """The rows, once the scripts' are there (right after the start)."""
    wait_until(lambda: [s["name"] for s in c.call("SCHEDULE.LIST")] == names,
               "the schedules of the scripts")
    return c.call("SCHEDULE.LIST")


def test_a_script_declares_its_schedules(make):
    d = make(scripts={"night.lua": NIGHT % "200ms"})
    c = d.client()
    rows = declared(c, ["night#1", "often"])
    file = rows[0]["owner"]
    assert file.endswith("/night.lua")
    assert rows[0]["payload"] == '{"n":1}' and rows[0]["queue"] == "night"
    assert rows[0]["tz"] == "Europe/Lisbon"
    wait_until(lambda: schedule(c, "often")["ticks"], "a tick")
    job = c.completed(schedule(c, "often")["ticks"][-1]["job"])
    assert job["result"] == "7" and job["priority"] == 2
    # It is the script's alone.
    e = c.error("SCHEDULE.SET", "night#1", "q", "x", "EVERY", HOUR)
    assert e.word == "CONFLICT" and file in e.text
    assert c.error("SCHEDULE.DEL", "often").word == "CONFLICT"
    assert file in d.ctl_ok("schedule", "list")


def test_reload_keeps_and_removes(make):
    d = make(scripts={"night.lua": NIGHT % "1h"})
    c = d.client()
    declared(c, ["night#1", "often"])
    c.call("SCHEDULE.SET", "mine", "q", "x", "EVERY", HOUR)
    before = schedule(c, "often")
    d.write_script("night.lua", "-- changed\n" + NIGHT % "1h")
    d.reload_ok()
    assert schedule(c, "often") == before
    d.restart()
    c = d.client()
    after = schedule(c, "often")
    assert abs(after.pop("next_at") - before.pop("next_at")) < 2000
    assert after == before
    # A broken script keeps its rows.
    d.write_script("night.lua", "return {")
    d.reload()
    assert schedule(c, "often") and schedule(c, "night#1")
    d.restart()
    c = d.client()
    assert schedule(c, "often") and schedule(c, "night#1")
    # One that declares less loses one.
    d.write_script("night.lua", script(
        "night", "", "schedule = { { every = '2h', name = 'often' } },"))
    d.reload_ok()
    assert schedule(c, "night#1") is None
    assert schedule(c, "often")["every_ms"] == 2 * HOUR
    d.remove_script("night.lua")
    d.reload_ok()
    assert [s["name"] for s in c.call("SCHEDULE.LIST")] == ["mine"]


def test_a_script_may_not_take_a_clients_row(make):
    d = make()
    c = d.client()
    c.call("SCHEDULE.SET", "often", "q", "x", "EVERY", HOUR)
    d.write_script("night.lua", NIGHT % "1h")
    e = d.reload()
    assert "night.lua" in e.text and "'often' was set by a client" in e.text
    assert schedule(c, "often")["queue"] == "q"
    assert schedule(c, "night#1")


@pytest.mark.parametrize("entry, text", [
    ("{ cron = '61 * * * *' }", "schedule[1].cron': cron: minute: '61'"),
    ("{ cron = '@daily', tz = 'Mars/Base' }", "schedule[1].tz': time zone"),
    ("{ every = 'soon' }", "schedule[1].every': expected a duration"),
    ("{ every = '1h', cron = '@daily' }", "either cron or every"),
    ("{ data = 1 }", "either cron or every"),
    ("{ every = '1h', when = 1 }", "unknown option 'schedule[1].when'"),
    ("{ every = '1h' }, 5", "schedule[2]': expected a table"),
    ("{ every = '1h', misfire = 'no' }", "schedule[1].misfire': expected"),
    ("", "option 'schedule': expected a list"),
    ("{ every = '1h', data = print }", "function"),
])
def test_a_bad_declaration_is_refused(bh, entry, text):
    path = os.path.join(bh.root, "bad.lua")
    with open(path, "w", encoding="utf-8") as f:
        f.write(script("bad", "", "schedule = { %s }," % entry))
    r = bh.ctl("script", "check", path)
    assert r.status == 1 and text in r.err + r.out, r
    assert "bad.lua" in r.err + r.out


# --- clocks and deaths

@pytest.fixture
def clocked(make):
    d = make(start=False)
    path = os.path.join(d.root, "clock")

    def jump(ms):
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write("%d\n" % ms)
        os.rename(path + ".new", path)
    d.jump = jump
    jump(0)
    d.env["BELLHOP_TEST_CLOCK"] = path
    return d.start()


def outcomes(c, name):
    return [t["outcome"] for t in schedule(c, name)["ticks"]]


@pytest.mark.embedded("the clock of the daemon, bellhop.db")
def test_a_day_away_is_made_up_for_once(clocked):
    c = clocked.client()
    now = datetime.datetime.now(datetime.timezone.utc)
    # Half a day off, so that the day's end is no matter.
    cron = "0 %d * * *" % ((now.hour + 12) % 24)
    for name, misfire in (("o", "ONCE"), ("s", "SKIP"), ("a", "ALL")):
        c.call("SCHEDULE.SET", name, name, "x", "CRON", cron, "MISFIRE",
               misfire)
    clocked.stop()
    clocked.jump(DAY)
    clocked.start()
    c = clocked.client()
    assert c.fetch1("o")["payload"] == "x"
    assert c.fetch1("a")["payload"] == "x"
    assert c.fetch("s") == []
    assert [outcomes(c, n) for n in "osa"] == [["late"], ["skipped"],
                                               ["late"]]
    assert c.fetch("o") == []


@pytest.mark.embedded("the clock of the daemon, bellhop.db")
def test_1970_repeats_nothing(clocked):
    c = clocked.client()
    now = datetime.datetime.now(datetime.timezone.utc)
    cron = "0 %d * * *" % ((now.hour + 12) % 24)
    c.call("SCHEDULE.SET", "o", "o", "x", "CRON", cron)
    clocked.stop()
    clocked.jump(-wall_ms() + 60000)
    clocked.start()
    c = clocked.client()
    assert c.fetch("o") == [] and outcomes(c, "o") == []
    clocked.jump(DAY)
    c.fetch1("o", BLOCK=45000)
    assert outcomes(c, "o") == ["late"]
    clocked.stop()
    clocked.jump(-wall_ms() + 60000)
    clocked.start()
    clocked.jump(DAY)
    c = clocked.client()
    sentinel = c.add("clock", "x", DELAY=1000)
    assert c.fetch1("clock")["id"] == sentinel
    assert c.fetch("o") == [] and outcomes(c, "o") == ["late"]


@pytest.mark.embedded("the clock of the daemon, bellhop.db")
def test_kill_9_loses_and_doubles_no_tick(make):
    """Each second has one tick, whenever the daemon dies."""
    d = make()
    c = d.client()
    first = c.call("SCHEDULE.SET", "s", "q", "x", "CRON", "* * * * * *",
                   "MISFIRE", "ALL", "OVERLAP", "QUEUE")
    for _ in range(8):
        seen = c.stats("q")["waiting"]
        wait_until(lambda: c.stats("q")["waiting"] > seen, "a tick")
        # Right after it, and around the next one.
        time.sleep(random.choice((0, 0, 0.9, 0.98, 0.99)))
        d.kill9()
        d.start()
        c = d.client()
    wait_until(lambda: schedule(c, "s")["ticks"], "the last ticks")
    d.stop()
    with sqlite3.connect("file:%s?mode=ro" % d.db, uri=True) as db:
        last = db.execute("SELECT max(due) FROM tick").fetchone()[0]
        jobs = db.execute("SELECT count(*) FROM job").fetchone()[0]
        used = db.execute("SELECT count(*), count(DISTINCT job.id) FROM tick"
                          " JOIN job ON job.id = tick.job").fetchone()
    assert jobs == (last - first) // 1000 + 1
    assert used[0] == used[1] == min(10, jobs)
    assert "every schedule has its state" in d.ctl_ok("doctor")
