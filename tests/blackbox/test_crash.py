# SPDX-License-Identifier: MIT
"""kill -9: at random under load, and at every step of the journal. What was
acknowledged is there, nothing is there twice, the file is whole."""
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time

import pytest

from daemon import StartError, wait_until
from resp import Closed, RespError

pytestmark = pytest.mark.embedded("journal, bellhop.db")

ROUNDS = int(os.environ.get("BELLHOP_CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("BELLHOP_CRASH_SEED", str(random.randrange(10**6))))

WORK = """
return {
  queue = "work", concurrency = 8, max_stalled = 1000, attempts = 1000,
  backoff = { type = "fixed", delay = "5ms" },
  perform = function(job)
    local n = tonumber(job.body:match("%d+$"))
    if n % 11 == 0 and job.attempt == 1 then error("boom " .. n) end
    if n % 7 == 0 then sleep("3ms") end
    return job.body
  end,
}
"""

CONFIG = """
queues = ( { name = "*"; retention = { completed_count = 10000000;
             failed_count = 10000000; }; } );
"""


def check_file(d):
    """integrity_check and doctor's invariants on a copy of the dead daemon's
    files, so that its own recovery is what is tested afterwards."""
    copy = tempfile.mkdtemp(prefix="bh-copy-")
    try:
        for name in os.listdir(d.state):
            if name.startswith("bellhop.db"):
                shutil.copy(os.path.join(d.state, name), copy)
        db = sqlite3.connect(os.path.join(copy, "bellhop.db"))
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == \
                [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        finally:
            db.close()
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def doctor(d):
    r = d.ctl("doctor")
    assert r.status == 0, r


class Producer(threading.Thread):
    """Adds jobs until the daemon dies; remembers what was acknowledged."""

    def __init__(self, d, name, start):
        super().__init__()
        self.d, self.mark, self.n = d, name, start
        self.acked, self.sent = {}, set()
        self.fault = None

    def run(self):
        try:
            with self.d.client() as c:
                self.produce(c)
        except (Closed, OSError):
            pass
        except BaseException as e:
            self.fault = e
            raise

    def produce(self, c):
        depth = 1 + hash(self.mark) % 4 * 5
        while True:
            batch = []
            for _ in range(depth):
                self.n += 1
                batch.append("%s-%d" % (self.mark, self.n))
            self.sent.update(batch)
            for payload in batch:
                c.send("JOB.ADD", "work", payload)
            for payload in batch:
                r = c.read()
                if isinstance(r, RespError):
                    raise AssertionError("ADD was answered " + r.line)
                assert r not in self.acked, "id %s came twice" % r
                self.acked[r] = payload


def test_kill_9_at_random_under_load(make):
    rng = random.Random(SEED)
    print("seed", SEED)
    d = make(scripts={"work.lua": WORK}, config=CONFIG)
    acked, sent = {}, set()
    numbers = dict.fromkeys("abcd", 0)
    for _ in range(ROUNDS):
        producers = [Producer(d, name, numbers[name]) for name in "abcd"]
        for p in producers:
            p.start()
        # At a random moment of the load, not of its beginning only.
        time.sleep(rng.uniform(0.02, 0.45))
        d.kill9()
        for p in producers:
            p.join()
            assert p.fault is None, p.fault
            numbers[p.mark] = p.n
            twice = acked.keys() & p.acked.keys()
            assert not twice, "ids used twice: %s" % sorted(twice)[:5]
            acked.update(p.acked)
            sent |= p.sent
        check_file(d)
        d.start()
        doctor(d)
    assert len(acked) > 50 * ROUNDS / 12, "there was hardly any load"
    c = d.client()
    wait_until(lambda: c.stats("work")["waiting"] == 0
               and c.stats("work")["active"] == 0
               and c.stats("work")["delayed"] == 0,
               "the end of the work", timeout=180)
    ids = sorted(acked, key=int)
    for n in range(0, len(ids), 500):
        part = ids[n:n + 500]
        for id, job in zip(part, c.pipe([["JOB.GET", i] for i in part])):
            assert job is not None, "acknowledged job %s is gone" % id
            assert job["state"] == "completed", job
            assert job["payload"] == acked[id]
            assert job["result"] == '"%s"' % acked[id]
    # What else is there was sent, and is there once.
    payloads = [j["payload"] for j in
                c.list_all("work", "completed", COUNT=1000)]
    assert len(payloads) == len(set(payloads))
    assert set(payloads) <= sent
    assert set(acked.values()) <= set(payloads)
    d.stop()
    check_file(d)


POINTS = ["begin", "apply", "commit-before", "commit-after", "ack"]


def run_until_dead(d, c, acked):
    """Adds one job after the other; the payload that was never answered."""
    n = len(acked)
    while True:
        payload = "p%d" % n
        try:
            acked[payload] = c.add("steps", payload)
        except (Closed, OSError):
            return payload
        n += 1
        assert n < 5000, "the daemon does not die at its crash point"


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("point", POINTS)
def test_kill_at_each_journal_step_of_an_add(make, point, n):
    d = make(config=CONFIG)
    acked = {}
    c = d.client()
    for i in range(3):
        acked["p%d" % i] = c.add("steps", "p%d" % i)
    d.stop()
    d.env["BELLHOP_TEST_CRASH"] = "%s:%d" % (point, n)
    try:
        d.start()
    except StartError as e:
        # A start may commit too: then it died there, and nothing was added.
        assert e.status == -9, e
        lost = None
    else:
        lost = run_until_dead(d, d.client(), acked)
        assert d.wait_exit() == -9
    check_file(d)
    del d.env["BELLHOP_TEST_CRASH"]
    d.start()
    c = d.client()
    stored = {j["payload"]: j["id"]
              for j in c.list_all("steps", "waiting", COUNT=1000)}
    assert len(stored) == c.stats("steps")["waiting"]
    for payload, id in acked.items():
        assert stored.get(payload) == id, payload
    assert set(stored) - set(acked) <= {lost}
    if lost is not None:
        # Nothing but this client writes, so the step decides.
        committed = point in ("commit-after", "ack")
        assert (lost in stored) == committed
    # No id is given twice, not even the lost one's.
    new = c.add("steps", "new")
    assert int(new) > max(int(i) for i in stored.values())
    doctor(d)


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize("point", POINTS)
def test_kill_at_each_journal_step_of_a_life(make, point, n):
    """The same with handlers at work, outside workers, groups and keys."""
    d = make(scripts={"work.lua": WORK}, config=CONFIG,
             env={"BELLHOP_TEST_CRASH": "%s:%d" % (point, n)}, start=False)
    acked, done = {}, []
    try:
        d.start()
        with d.client() as c:
            for i in range(1, 2000):
                payload = "life-%d" % i
                acked[c.add("work", payload)] = payload
                c.add("outside", payload, GROUP="g%d" % (i % 3),
                      UNIQUE=("u%d" % (i % 5), "MODE", "FOLLOW"))
                for job in c.fetch("outside", COUNT=2, LEASE=2000):
                    if i % 4:
                        c.done(job, "r")
                        done.append(job["id"])
                    else:
                        c.fail(job, "boom %d" % i, DELAY=1)
            raise AssertionError("the daemon does not die")
    except (Closed, OSError):
        assert d.wait_exit() == -9
    except StartError as e:
        assert e.status == -9, e
    check_file(d)
    del d.env["BELLHOP_TEST_CRASH"]
    d.start()
    doctor(d)
    c = d.client()
    for id, payload in acked.items():
        assert c.completed(id)["result"] == '"%s"' % payload
    for id in done:
        assert c.state(id) == "completed"
    # Whatever is left in the other queue can be worked off, each once.
    seen = set()
    while True:
        s = c.stats("outside")
        if not s["waiting"] + s["delayed"] + s["active"]:
            break
        for job in c.fetch("outside", COUNT=10, BLOCK=50, LEASE=5000):
            assert job["id"] not in done and job["id"] not in seen
            seen.add(job["id"])
            c.done(job)
        # A claim whose answer died with the daemon holds its lease.
        for job in c.list_all("outside", "active"):
            if job["id"] not in seen:
                wait_until(lambda: c.state(job["id"]) != "active",
                           "the orphan's lease", timeout=60)
    doctor(d)


def test_doctor_finds_nothing_in_good_health_and_a_broken_invariant(make):
    d = make()
    c = d.client()
    c.add("q", "x")
    c.fetch1("q")
    doctor(d)
    d.stop()
    # An active job without a lease cannot even be stored; a job of a queue
    # that does not exist can, if somebody insists.
    db = sqlite3.connect(d.db)
    db.execute("UPDATE job SET queue = 4711")
    db.commit()
    db.close()
    try:
        d.start()
    except StartError as e:
        assert "4711" in e.err or "doctor" in e.err or d.db in e.err
    else:
        r = d.ctl("doctor")
        assert r.status == 1
        assert r.out + r.err


def test_the_schema_forbids_contradictions(make):
    d = make()
    d.client().add("q", "x")
    d.stop()
    db = sqlite3.connect(d.db)
    for sql in ("UPDATE job SET state = 7",
                "UPDATE job SET state = 1",
                "UPDATE job SET error = 'x'",
                "UPDATE job SET priority = 12",
                "UPDATE job SET payload = NULL",
                "UPDATE job SET attempt = -1"):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(sql)
    db.close()


def test_people_read_the_file_while_the_daemon_works(make):
    d = make()
    c = d.client()
    id = c.add("q", "hello", PRIORITY=2, GROUP="g")
    c.add("q", "later", DELAY=600000)
    db = sqlite3.connect("file:%s?mode=ro" % d.db, uri=True)
    db.row_factory = sqlite3.Row
    rows = {str(r["id"]): r for r in db.execute("SELECT * FROM jobs_view")}
    row = rows[id]
    assert (row["queue"], row["state"], row["payload"], row["priority"]) == \
        ("q", "waiting", "hello", 2)
    c.fetch1("q")
    states = sorted(r["state"] for r in
                    db.execute("SELECT state FROM jobs_view"))
    assert states == ["active", "delayed"]
    # While somebody reads, the daemon still writes.
    cursor = db.execute("SELECT * FROM jobs_view")
    cursor.fetchone()
    assert c.add("q", "more")
    db.close()


def test_relaxed_durability_survives_a_crash_of_the_daemon(make):
    d = make({"durability": "relaxed"})
    c = d.client()
    ids = [c.add("q", str(n)) for n in range(200)]
    d.kill9()
    d.start()
    c = d.client()
    assert [j["id"] for j in c.list_all("q", "waiting", COUNT=1000)] == ids
