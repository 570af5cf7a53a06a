# SPDX-License-Identifier: MIT
"""A full disk, and max_disk: new work is refused, old work goes on."""
import os
import sqlite3
import subprocess

import pytest

from daemon import wait_until
from resp import RespError

pytestmark = pytest.mark.embedded("the disk of bellhop.db")

BLOB = 100000


@pytest.fixture
def small_disk(make):
    """A stopped daemon whose state lives on a file system of 32 MiB: it keeps
    some room for the end of old work, so less would be refused at once."""
    d = make(start=False)
    p = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=700",
                        "none", d.state], capture_output=True, text=True,
                       check=False)
    if p.returncode:
        pytest.skip("cannot mount here: " + p.stderr.strip())
    try:
        yield d
    finally:
        try:
            if not d.dead():
                d.stop()
        finally:
            subprocess.run(["umount", "-l", d.state], check=False)


def fill(c, queue, limit=400):
    """Adds until the refusal; (the acknowledged ids, the error)."""
    ids = []
    for n in range(limit):
        c.send("JOB.ADD", queue, ("%06d" % n) + "x" * BLOB)
        r = c.read()
        if isinstance(r, RespError):
            return ids, r
        ids.append(r)
    raise AssertionError("%d jobs were taken: there is no limit" % limit)


def takes_work(c, queue):
    r = c.pipe([["JOB.ADD", queue, "y" * BLOB]])[0]
    assert not isinstance(r, RespError) or r.word == "DISKFULL", r
    return None if isinstance(r, RespError) else r


def test_a_disk_full_of_jobs(small_disk):
    d = small_disk.start()
    c = d.client(timeout=20)
    ids, error = fill(c, "q")
    assert error.word == "DISKFULL"
    assert len(error.text) > 10
    assert len(ids) > 5
    # All that was acknowledged is there.
    for n, id in enumerate(ids):
        assert c.get(id)["payload"].startswith("%06d" % n)
    # Work that has been accepted can be done.
    job = c.fetch1("q")
    assert job["id"] == ids[0]
    assert c.done(job, "r") == "OK"
    # And work can be thrown away, until there is room for new.
    for id in ids[1:-1]:
        assert c.call("JOB.REMOVE", id) == "OK"
    new = wait_until(lambda: takes_work(c, "q"), "room for new work")
    assert c.state(ids[-1]) == "waiting"
    d.kill9()
    d.start()
    c = d.client()
    assert c.state(new) == "waiting"
    assert c.state(ids[-1]) == "waiting"
    assert c.get(ids[5]) is None


def test_a_disk_filled_by_others(small_disk):
    d = small_disk.start()
    c = d.client()
    before = c.add("q", "before")
    ballast = os.path.join(d.state, "ballast")
    with open(ballast, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 65536)
        except OSError:
            pass
    refused = wait_until(
        lambda: next((r for r in c.pipe([["JOB.ADD", "q", "z" * BLOB]])
                      if isinstance(r, RespError)), None), "the refusal")
    assert refused.word == "DISKFULL", refused
    # It still answers what needs no disk.
    assert c.call("PING") == "PONG"
    assert c.get(before)["payload"] == "before"
    os.unlink(ballast)
    after = wait_until(lambda: takes_work(c, "q"), "room for new work")
    assert int(after) > int(before)
    d.stop()
    db = sqlite3.connect(d.db)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    d.start()
    assert d.client().state(after) == "waiting"
    assert d.client().state(before) == "waiting"


def test_a_full_disk_and_kill_9(small_disk):
    d = small_disk.start()
    ids, error = fill(d.client(), "q")
    d.kill9()
    d.start()
    c = d.client(timeout=20)
    for id in ids:
        assert c.state(id) == "waiting"
    assert c.call("QUEUE.PURGE", "q", "waiting") == len(ids)
    wait_until(lambda: takes_work(c, "q"), "room for new work")


# max_disk.

HANDLER = """
return { queue = "handled", perform = function(job) return #job.body end }
"""


def test_max_disk_refuses_new_work_only(make):
    d = make({"max_disk": "6MiB"}, scripts={"h.lua": HANDLER})
    c = d.client()
    c.call("QUEUE.PAUSE", "handled")
    handled = c.add("handled", "x" * 1000)
    ids, error = fill(c, "q")
    assert error.word == "DISKFULL"
    assert "max_disk" in error.text
    size = sum(os.path.getsize(os.path.join(d.state, n))
               for n in os.listdir(d.state))
    assert size < 16 << 20
    # The step was announced.
    wait_until(lambda: "max_disk" in d.err_text(), "the log line")
    # Handlers finish, workers finish, deletes work.
    c.call("QUEUE.RESUME", "handled")
    assert c.completed(handled)["result"] == "1000"
    assert c.done(c.fetch1("q"), "r") == "OK"
    assert c.call("QUEUE.PURGE", "q", "waiting") == len(ids) - 1
    wait_until(lambda: takes_work(c, "q"), "room for new work")


def test_max_disk_first_sweeps_completed_jobs(make):
    d = make({"max_disk": "6MiB"})
    c = d.client()
    done = []
    # Three times what fits, none of it still to be done: the completed ones
    # make room before anything is refused.
    for n in range(180):
        id = wait_until(lambda: takes_work(c, "q"), "room for job %d" % n)
        c.done(c.fetch1("q"))
        done.append(id)
    assert c.get(done[0]) is None
    assert c.state(done[-1]) == "completed"


def test_max_disk_is_lifted_by_a_reload(make):
    d = make({"max_disk": "4MiB"})
    c = d.client()
    fill(c, "q")
    d.write_config({"max_disk": "64MiB"})
    d.reload_ok()
    wait_until(lambda: takes_work(c, "q"), "the lifted limit")


def test_the_file_gives_space_back(make):
    d = make()
    c = d.client()

    def size():
        return os.path.getsize(d.db)

    for _ in range(20):
        c.madd("q", ["x" * BLOB] * 10)

    def total():
        return sum(os.path.getsize(os.path.join(d.state, n))
                   for n in os.listdir(d.state))
    assert total() > 15 << 20
    assert c.call("QUEUE.PURGE", "q", "waiting") == 200
    c.add("q", "small")
    wait_until(lambda: size() < 8 << 20, "the file to shrink", timeout=90)
