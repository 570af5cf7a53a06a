# SPDX-License-Identifier: MIT
"""bellhopctl: every command, for people and as JSON, and exit statuses."""
import json
import os
import re
import sqlite3

import pytest

from daemon import wait_until

SCRIPTS = {
    "twice.lua": """
return { queue = "twice",
    perform = function(job) return job.data * 2 end }
""",
}

GOOD = """
return {
  queue = "good",
  perform = function(job)
    log.info("working", { n = job.data.n })
    local id = queue.add("elsewhere", { from = job.id })
    return { sum = job.data.n + 1 }
  end,
}
"""


def dead(c, q, n=1, message="boom"):
    """n jobs that have failed."""
    ids = []
    for _ in range(n):
        ids.append(c.add(q, "x", ATTEMPTS=1))
        c.fail(c.fetch1(q), message)
    return ids


def test_status(bh, c):
    text = bh.ctl_ok("status")
    assert len(text.splitlines()) >= 3
    assert isinstance(bh.ctl_json("status"), dict)


def test_version(bh):
    assert re.search(r"\d+\.\d+", bh.ctl_ok("version"))
    # Also where no daemon runs.
    assert bh.ctl("--socket", "/nowhere", "version").status in (0, 1)


def test_queues(bh, c, q):
    c.add(q, "x")
    text = bh.ctl_ok("queues")
    assert q in text
    assert "\x1b" not in text, "colours, but not on a terminal"
    rows = {r["queue"]: r for r in bh.ctl_json("queues")}
    assert rows[q]["waiting"] == 1
    assert "processed_total" in rows[q]


def test_add(bh, c, q):
    id = bh.ctl_ok("add", q, "hello").strip().split()[-1]
    assert id.isdigit()
    assert c.get(id)["payload"] == "hello"
    answer = bh.ctl_json("add", q, '{"a":1}')
    if isinstance(answer, list):
        answer = answer[0]
    id = answer["id"] if isinstance(answer, dict) else answer
    assert c.get(str(id))["payload"] == '{"a":1}'


def test_add_from_standard_input(bh, c, q):
    bh.ctl_ok("add", q, "-", stdin="from\na pipe")
    assert c.fetch1(q)["payload"] == "from\na pipe"


def test_add_with_options(bh, c, q):
    bh.ctl_ok("add", q, "x", "--priority", 2, "--delay", "10m",
              "--attempts", 4, "--group", "g", "--unique", "k")
    job = c.list_all(q, "delayed")[0]
    assert (job["priority"], job["attempts"]) == (2, 4)
    assert (job["group"], job["unique"]) == ("g", "k")
    r = bh.ctl("add", q, "x", "--priority", "urgent")
    assert r.status in (1, 2)
    assert "priority" in r.err.lower()


def jobs_of(answer):
    if isinstance(answer, dict):
        answer = answer.get("jobs", answer)
    return answer


def test_jobs(bh, c, q):
    ids = c.madd(q, ["one", "two"])
    text = bh.ctl_ok("jobs", q, "waiting")
    assert all(id in text for id in ids)
    jobs = jobs_of(bh.ctl_json("jobs", q, "waiting"))
    assert [str(j["id"]) for j in jobs] == ids
    assert bh.ctl("jobs", q, "sleeping").status in (1, 2)


def test_job(bh, c, q):
    id = c.add(q, '{"guest":"Ana"}', PRIORITY=3)
    text = bh.ctl_ok("job", id)
    assert id in text and q in text and "waiting" in text
    job = bh.ctl_json("job", id)
    assert job["id"] == id
    assert job["payload"] == {"guest": "Ana"}
    assert job["payload_encoding"] == "json"
    assert job["priority"] == 3
    plain = bh.ctl_json("job", c.add(q, "plain text"))
    assert (plain["payload"], plain["payload_encoding"]) == \
        ("plain text", "text")
    binary = bh.ctl_json("job", c.add(q, b"\xff\x00\xfe"))
    assert (binary["payload"], binary["payload_encoding"]) == \
        ("/wD+", "base64")


def test_control_bytes_do_not_reach_the_terminal(bh, c, q):
    id = c.add(q, "evil \x1b[31m red \x07")
    assert "\x1b" not in bh.ctl_ok("job", id)
    assert "\x1b" not in bh.ctl_ok("jobs", q, "waiting")


def test_why(bh, c, q):
    id = c.add(q, "x", DELAY=600000)
    assert "delayed" in bh.ctl_ok("why", id)
    assert bh.ctl_json("why", id)["gate"] == "delayed"


def test_retry_of_a_job(bh, c, q):
    id, = dead(c, q)
    bh.ctl_ok("retry", id)
    assert c.state(id) == "waiting"
    r = bh.ctl("retry", id)
    assert r.status == 1
    assert r.err.strip()


def test_remove_promote_cancel(bh, c, q):
    id = c.add(q, "x", DELAY=600000)
    bh.ctl_ok("promote", id)
    assert c.state(id) == "waiting"
    bh.ctl_ok("remove", id)
    assert c.get(id) is None
    id = c.add(q, "x")
    c.fetch1(q)
    bh.ctl_ok("cancel", id)
    wait_until(lambda: c.state(id) == "failed", "the cancel")


def test_pause_resume(bh, c, q):
    bh.ctl_ok("pause", q)
    assert c.stats(q)["paused"]
    assert "paused" in bh.ctl_ok("why", c.add(q, "x"))
    bh.ctl_ok("resume", q)
    assert not c.stats(q)["paused"]


def test_hold(bh, c, q):
    bh.ctl_ok("hold", q, "10m", "quota is used up")
    why = c.why(c.add(q, "x"))
    assert why["gate"] == "held"
    assert "quota is used up" in why["text"]
    assert bh.ctl("hold", q, "soon").status in (1, 2)


def test_purge(bh, c, q):
    c.madd(q, ["x"] * 5)
    out = bh.ctl_ok("purge", q, "waiting")
    assert "5" in out
    assert c.stats(q)["waiting"] == 0


def test_errors(bh, c, q):
    dead(c, q, 3, "guest 7 is gone")
    text = bh.ctl_ok("errors", q)
    assert "guest" in text and "3" in text
    rows = bh.ctl_json("errors", q)
    assert [r["count"] for r in rows] == [3]
    assert rows[0]["fingerprint"]


def test_an_unknown_job(bh):
    for command in ("job", "why", "remove", "retry"):
        r = bh.ctl(command, "9000000000000000000")
        assert r.status == 1, (command, r)
        assert r.err.strip()


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["add"], ["job"], ["job", "1", "2"],
    ["queues", "--nonsense"], ["jobs"], ["token", "nonsense"],
    ["script", "run"], ["hold", "q"]],
    ids=lambda a: " ".join(a) or "nothing")
def test_wrong_usage_is_2(bh, args):
    r = bh.ctl(*args)
    assert r.status == 2, r
    assert r.err.strip()


def test_help(bh):
    r = bh.ctl("--help")
    assert r.status == 0
    for command in ("status", "queues", "add", "jobs", "why", "doctor"):
        assert command in r.out


def test_no_daemon_is_1(make):
    d = make(start=False)
    r = d.ctl("queues")
    assert r.status == 1
    assert d.sock in r.err


def test_url(bh, c, q):
    c.add(q, "x")
    from daemon import find_binary
    import subprocess
    p = subprocess.run(
        [find_binary("bellhopctl"), "--url",
         "redis://127.0.0.1:%d" % bh.port, "queues"],
        capture_output=True, text=True, timeout=60, check=False)
    assert p.returncode == 0, p
    assert q in p.stdout


# Scripts.

def test_script_list(bh, c):
    assert "twice.lua" in bh.ctl_ok("script", "list")
    assert "twice.lua" in json.dumps(bh.ctl_json("script", "list"))


def test_script_check(bh, tmp_path):
    good, bad = tmp_path / "good.lua", tmp_path / "bad.lua"
    good.write_text(GOOD)
    bad.write_text("return {\n  queue = 'x',\n  perform = function(\n}\n")
    assert bh.ctl_ok("script", "check", good)
    r = bh.ctl("script", "check", bad)
    assert r.status == 1
    assert re.search(r"bad\.lua:[34]: ", r.err + r.out)
    assert bh.ctl("script", "check", tmp_path / "none.lua").status == 1


def test_script_check_needs_no_daemon(make, tmp_path):
    d = make(start=False)
    good = tmp_path / "good.lua"
    good.write_text(GOOD)
    assert d.ctl("script", "check", good).status == 0


def test_script_run(bh, c, tmp_path):
    good = tmp_path / "good.lua"
    good.write_text(GOOD)
    out = bh.ctl_ok("script", "run", good, "--data", '{"n":41}')
    assert "42" in out
    assert "working" in out
    assert "elsewhere" in out
    # A dry run stores nothing.
    assert c.stats("elsewhere")["waiting"] == 0


def test_script_run_of_a_failing_one(bh, tmp_path):
    bad = tmp_path / "bad.lua"
    bad.write_text("return { queue = 'x', perform = function(job)\n"
                   "  error('no ' .. job.data)\nend }\n")
    r = bh.ctl("script", "run", bad, "--data", '"luck"')
    assert r.status == 1
    assert "no luck" in r.out + r.err
    assert "bad.lua:2" in r.out + r.err


# Tokens.

def test_tokens(bh, c):
    out = bh.ctl_ok("token", "add", "kitchen", "--role", "worker")
    secret = max(re.findall(r"[A-Za-z0-9_-]{32,}", out), key=len)
    with bh.client(proto=2, tcp=True) as t:
        assert t.call("AUTH", secret) == "OK"
    assert "kitchen" in bh.ctl_ok("token", "list")
    assert secret not in bh.ctl_ok("token", "list")
    assert "worker" in json.dumps(bh.ctl_json("token", "list"))
    bh.ctl_ok("token", "remove", "kitchen")
    assert "kitchen" not in bh.ctl_ok("token", "list")
    r = bh.ctl("token", "add", "x", "--role", "king")
    assert r.status in (1, 2) and "king" in r.err


# The database.

@pytest.mark.embedded("bellhop.db")
def test_backup_and_restore(make, tmp_path):
    d = make()
    c = d.client()
    ids = c.madd("q", ["payload %d" % n for n in range(100)])
    target = tmp_path / "copy.db"
    d.ctl_ok("backup", target)
    db = sqlite3.connect(target)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT count(*) FROM job").fetchone() == (100,)
    db.close()
    # What comes after the backup is gone after the restore.
    c.call("QUEUE.PURGE", "q", "waiting")
    c.add("q", "later")
    r = d.ctl("restore", target)
    assert r.status == 1, "a restore under a running daemon: %r" % (r,)
    d.stop()
    d.ctl_ok("restore", target)
    d.start()
    jobs = d.client().list_all("q", "waiting", COUNT=1000)
    assert [j["id"] for j in jobs] == ids
    assert jobs[7]["payload"] == "payload 7"


@pytest.mark.embedded("bellhop.db")
def test_backup_under_load(make, tmp_path):
    d = make()
    c = d.client()
    for n in range(20):
        c.send("JOB.MADD", "q", 100, *(["x" * 500] * 100))
    target = tmp_path / "copy.db"
    d.ctl_ok("backup", target)
    for n in range(20):
        assert len(c.read()) == 100
    db = sqlite3.connect(target)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT count(*) FROM job").fetchone()[0] % 100 == 0
    db.close()


@pytest.mark.embedded("bellhop.db")
def test_backup_does_not_overwrite_silently_or_fail_silently(bh):
    r = bh.ctl("backup", "/no/such/directory/copy.db")
    assert r.status == 1
    assert "/no/such/directory" in r.err


def test_restore_of_rubbish_keeps_what_is_there(make, tmp_path):
    d = make()
    id = d.client().add("q", "x")
    d.stop()
    rubbish = tmp_path / "rubbish.db"
    rubbish.write_bytes(b"no database" * 1000)
    assert d.ctl("restore", rubbish).status == 1
    assert d.ctl("restore", tmp_path / "none.db").status == 1
    d.start()
    assert d.client().state(id) == "waiting"


@pytest.mark.embedded("bellhop.db")
def test_doctor(bh, c, q):
    c.add(q, "x")
    c.fetch1(q)
    assert bh.ctl_ok("doctor")
    assert bh.ctl("--json", "doctor").status == 0


@pytest.mark.embedded("bellhop.db")
def test_doctor_of_a_stopped_daemon(make):
    d = make()
    d.client().add("q", "x")
    d.stop()
    r = d.ctl("doctor")
    assert r.status == 0, r
    with open(d.db, "r+b") as f:
        f.seek(100)
        f.write(os.urandom(2000))
    r = d.ctl("doctor")
    assert r.status == 1, r


def test_reload(bh):
    out = bh.ctl_ok("reload")
    assert "\x1b" not in out
