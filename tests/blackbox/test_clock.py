# SPDX-License-Identifier: MIT
"""Jumps of the wall clock: spans stay spans, AT follows the clock."""
import os
import time

import pytest

from daemon import wait_until

pytestmark = pytest.mark.embedded("the clock of the daemon; a server has its own")

HOUR = 3600 * 1000
DAY = 24 * HOUR


@pytest.fixture
def clocked(make):
    """A daemon whose wall clock clocked.jump(ms) moves."""
    d = make(start=False)
    path = os.path.join(d.root, "clock")

    def jump(ms):
        # By rename: it is read at any moment.
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write("%d\n" % ms)
        os.rename(path + ".new", path)
    d.jump = jump
    jump(0)
    d.env["BELLHOP_TEST_CLOCK"] = path
    return d.start()


def wall_ms():
    return int(time.time() * 1000)


def test_the_daemon_follows_the_file(clocked):
    c = clocked.client()
    clocked.jump(DAY)

    def follows():
        job = c.get(c.add("q", "x"))
        return abs(job["created_at"] - wall_ms() - DAY) < 60000
    wait_until(follows, "the new time")


@pytest.mark.parametrize("jump", [-HOUR, DAY], ids=["back", "forth"])
def test_delays_are_not_shifted(clocked, jump):
    c = clocked.client()
    short = c.add("q", "short", DELAY=1200)
    long = c.add("q", "long", DELAY=2 * DAY)
    begin = time.monotonic()
    clocked.jump(jump)
    job = c.fetch1("q")
    took = time.monotonic() - begin
    assert job["id"] == short
    assert 0.9 <= took < 30, took
    assert c.state(long) == "delayed"


@pytest.mark.parametrize("jump", [-HOUR, DAY], ids=["back", "forth"])
def test_leases_are_not_shifted(clocked, jump):
    c = clocked.client()
    kept, lost = c.add("q", "kept"), c.add("q", "lost")
    job = c.fetch1("q", LEASE=HOUR)
    c.fetch1("q", LEASE=700)
    clocked.jump(jump)
    wait_until(lambda: c.state(lost) == "waiting", "the lease's end")
    assert c.state(kept) == "active"
    assert c.done(job) == "OK"


@pytest.mark.parametrize("jump", [-HOUR, DAY], ids=["back", "forth"])
def test_backoff_is_not_shifted(clocked, jump):
    c = clocked.client()
    soon = c.add("q", "soon", BACKOFF=("FIXED", 600, "JITTER", 0))
    c.fail(c.fetch1("q"), "boom")
    late = c.add("q.late", "late", BACKOFF=("FIXED", 2 * DAY, "MAX",
                                            4 * DAY, "JITTER", 0))
    c.fail(c.fetch1("q.late"), "boom")
    clocked.jump(jump)
    assert c.fetch1("q")["id"] == soon
    assert c.state(late) == "delayed"


def test_expiry_is_not_shifted(clocked):
    c = clocked.client()
    id = c.add("q", "x", EXPIRES=2 * HOUR)
    clocked.jump(DAY)
    gone = c.add("q.clock", "y", EXPIRES=200)
    c.failed(gone)
    assert c.state(id) == "waiting"


def test_a_hold_is_a_span(clocked):
    c = clocked.client()
    c.call("QUEUE.HOLD", "q", 400)
    c.call("QUEUE.HOLD", "held", 2 * HOUR)
    id, held = c.add("q", "x"), c.add("held", "y")
    clocked.jump(-HOUR)
    assert c.fetch1("q")["id"] == id
    assert c.state(held) == "waiting"
    assert c.fetch("held") == []


def test_at_follows_a_jump_ahead(clocked):
    c = clocked.client()
    at = c.add("q", "x", AT=wall_ms() + HOUR)
    much_later = c.add("q", "y", AT=wall_ms() + 2 * DAY)
    assert c.state(at) == "delayed"
    clocked.jump(DAY)
    # No command wakes it: the jump must be noticed.
    assert c.fetch1("q", BLOCK=45000)["id"] == at
    assert c.state(much_later) == "delayed"


def test_at_follows_a_jump_back(clocked):
    c = clocked.client()
    clocked.jump(DAY)
    at = c.add("q", "x", AT=wall_ms() + DAY + 800)
    clocked.jump(0)
    sentinel = c.add("q.clock", "y", DELAY=1500)
    assert c.fetch1("q.clock")["id"] == sentinel
    assert c.state(at) == "delayed"
    assert c.fetch("q") == []
    clocked.jump(DAY)
    assert c.fetch1("q", BLOCK=45000)["id"] == at


def test_a_box_that_boots_in_1970(clocked):
    clocked.stop()
    clocked.jump(-wall_ms() + 60000)
    clocked.start()
    c = clocked.client()
    id = c.add("q", "x")
    later = c.add("q", "y", DELAY=1000)
    assert c.get(id)["created_at"] < DAY
    c.done(c.fetch1("q"))
    clocked.jump(0)
    assert c.fetch1("q")["id"] == later
    assert c.state(id) == "completed"


def test_over_a_restart_wall_time_counts(clocked):
    c = clocked.client()
    due = c.add("q", "x", DELAY=HOUR)
    later = c.add("q", "y", DELAY=3 * DAY)
    clocked.stop()
    clocked.jump(DAY)
    clocked.start()
    c = clocked.client()
    assert c.fetch1("q")["id"] == due
    assert c.state(later) == "delayed"
