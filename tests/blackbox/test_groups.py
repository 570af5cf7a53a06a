# SPDX-License-Identifier: MIT
"""Groups: one at a time, in order, taking turns."""
import collections
import threading

import pytest

from daemon import wait_until

CONFIG = """
queues = (
  { name = "two.*"; group_concurrency = 2; },
  { name = "skip.*"; group_order = "skip"; }
);
"""


def payloads(jobs):
    return [j["payload"] for j in jobs]


def test_one_at_a_time_in_order(c, q):
    for n in range(4):
        c.add(q, str(n), GROUP="g")
    for n in range(4):
        jobs = c.fetch(q, COUNT=10)
        assert payloads(jobs) == [str(n)]
        assert jobs[0]["group"] == "g"
        assert c.fetch(q) == []
        c.done(jobs[0])


def test_why_names_the_job_ahead(c, q):
    first = c.add(q, "1", GROUP="g")
    second = c.add(q, "2", GROUP="g")
    c.fetch1(q)
    why = c.why(second)
    assert why["gate"] == "group"
    assert first in why["text"]


def test_priority_does_not_overtake_inside_a_group(c, q):
    c.add(q, "1", GROUP="g", PRIORITY=9)
    c.add(q, "2", GROUP="g", PRIORITY=0)
    job = c.fetch1(q)
    assert job["payload"] == "1"


def test_a_group_competes_with_its_heads_priority(c, q):
    c.add(q, "head", GROUP="g", PRIORITY=8)
    c.add(q, "urgent behind", GROUP="g", PRIORITY=0)
    c.add(q, "plain", PRIORITY=5)
    assert payloads(c.fetch(q, COUNT=5)) == ["plain", "head"]


def test_groups_take_turns(c, q):
    for group, n in (("a", 3), ("b", 2), ("c", 1)):
        for i in range(n):
            c.add(q, "%s%d" % (group, i), GROUP=group)
    order = []
    while True:
        jobs = c.fetch(q)
        if not jobs:
            break
        order += payloads(jobs)
        c.done(jobs[0])
    assert order[:3] == ["a0", "b0", "c0"]
    assert sorted(order[3:5]) == ["a1", "b1"]
    assert order[5] == "a2"


def test_jobs_without_a_group_are_free(c, q):
    c.add(q, "g1", GROUP="g")
    c.add(q, "g2", GROUP="g")
    c.madd(q, ["n1", "n2"])
    assert sorted(payloads(c.fetch(q, COUNT=9))) == ["g1", "n1", "n2"]


def test_groups_are_of_one_queue(c, q):
    c.add(q + ".a", "a", GROUP="g")
    c.add(q + ".b", "b", GROUP="g")
    assert sorted(payloads(c.fetch(q + ".a", q + ".b", COUNT=9))) == \
        ["a", "b"]


def test_group_concurrency(c, named):
    q = named("two")
    for n in range(5):
        c.add(q, str(n), GROUP="g")
    jobs = c.fetch(q, COUNT=10)
    assert payloads(jobs) == ["0", "1"]
    c.done(jobs[1])
    assert payloads(c.fetch(q, COUNT=10)) == ["2"]


@pytest.mark.parametrize("end", ["done", "fail", "remove"])
def test_an_ended_job_frees_the_line(c, q, end):
    first = c.add(q, "1", GROUP="g")
    c.add(q, "2", GROUP="g")
    if end == "remove":
        c.call("JOB.REMOVE", first)
    elif end == "fail":
        c.fail(c.fetch1(q), "no", FINAL=True)
    else:
        c.done(c.fetch1(q))
    assert c.fetch1(q)["payload"] == "2"


def test_a_retry_keeps_its_place_and_holds_the_line(c, q):
    first = c.add(q, "1", GROUP="g")
    second = c.add(q, "2", GROUP="g")
    c.fail(c.fetch1(q), "boom", DELAY=60000)
    assert c.fetch(q) == []
    why = c.why(second)
    assert why["gate"] == "group"
    assert first in why["text"]
    c.call("JOB.PROMOTE", first)
    job = c.fetch1(q)
    assert job["id"] == first
    c.done(job)
    assert c.fetch1(q)["id"] == second


def test_a_released_job_holds_the_line(c, q):
    c.add(q, "1", GROUP="g")
    c.add(q, "2", GROUP="g")
    c.release(c.fetch1(q), DELAY=150)
    assert c.fetch(q) == []
    assert c.fetch1(q)["payload"] == "1"


def test_a_lost_lease_keeps_its_place(c, q):
    c.add(q, "1", GROUP="g")
    c.add(q, "2", GROUP="g")
    c.fetch1(q, LEASE=100)
    job = c.fetch1(q)
    assert (job["payload"], job["stalled"]) == ("1", 1)


def test_skip_lets_the_next_pass(c, named):
    q = named("skip")
    first = c.add(q, "1", GROUP="g")
    c.add(q, "2", GROUP="g")
    c.add(q, "3", GROUP="g")
    c.fail(c.fetch1(q), "boom", DELAY=60000)
    second = c.fetch1(q)
    assert second["payload"] == "2"
    # Still one at a time; and the first one has kept its place.
    assert c.fetch(q) == []
    c.call("JOB.PROMOTE", first)
    assert c.fetch(q) == []
    c.done(second)
    assert c.fetch1(q)["payload"] == "1"


def test_a_delayed_job_joins_when_due(c, q):
    c.add(q, "early bird", GROUP="g", DELAY=500)
    c.add(q, "second", GROUP="g")
    job = c.fetch1(q)
    assert job["payload"] == "second"
    c.done(job)
    c.add(q, "third", GROUP="g", DELAY=700)
    first = c.fetch1(q)
    assert first["payload"] == "early bird"
    c.done(first)
    assert c.fetch1(q)["payload"] == "third"


def test_a_retried_failed_job_joins_at_the_end(c, q):
    first = c.add(q, "1", GROUP="g")
    c.add(q, "2", GROUP="g")
    c.fail(c.fetch1(q), "no", FINAL=True)
    c.call("JOB.RETRY", first)
    job = c.fetch1(q)
    assert job["payload"] == "2"
    c.done(job)
    assert c.fetch1(q)["id"] == first


def test_an_expired_job_frees_the_line(c, q):
    c.add(q, "active", GROUP="g")
    c.fetch1(q)
    expired = c.add(q, "x", GROUP="g", EXPIRES=50)
    c.add(q, "y", GROUP="g")
    c.failed(expired)
    assert c.fetch(q) == []


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_order_survives_a_restart(make, q, how):
    d = make()
    c = d.client()
    for n in range(6):
        c.add(q, str(n), GROUP="g%d" % (n % 2))
    job = c.fetch1(q)
    assert job["payload"] == "0"
    getattr(d, how)()
    d.start()
    c = d.client()
    # "0" is still held by its worker.
    other = c.fetch(q, COUNT=9)
    assert payloads(other) == ["1"]
    c.done(job)
    c.done(other[0])
    rest = []
    while len(rest) < 4:
        jobs = c.fetch(q, COUNT=9, BLOCK=30000)
        rest += payloads(jobs)
        for j in jobs:
            c.done(j)
    assert rest.index("2") < rest.index("4")
    assert rest.index("3") < rest.index("5")


def test_order_holds_under_load(c, bh, q):
    """4 workers, 10 groups of 20: each group in order, never two at once."""
    expected = collections.defaultdict(list)
    commands = []
    for n in range(200):
        group = "g%d" % (n * 7 % 10)
        expected[group].append(str(n))
        commands.append(["JOB.ADD", q, str(n), "GROUP", group])
    c.pipe(commands)
    seen, lock = [], threading.Lock()
    active, faults = set(), []

    def work():
        with bh.client() as w:
            while True:
                jobs = w.fetch(q, COUNT=3, BLOCK=1000)
                with lock:
                    if not jobs and len(seen) == 200:
                        return
                    for j in jobs:
                        if j["group"] in active:
                            faults.append(j)
                        active.add(j["group"])
                        seen.append((j["group"], j["payload"]))
                for n, j in enumerate(jobs):
                    with lock:
                        active.discard(j["group"])
                    if int(j["id"]) % 5 == 0 and j["attempt"] == 1:
                        with lock:
                            seen.remove((j["group"], j["payload"]))
                        w.fail(j, "boom", DELAY=5)
                    else:
                        w.done(j)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    wait_until(lambda: len(seen) == 200, "all 200 jobs")
    for t in threads:
        t.join()
    assert not faults, faults
    got = collections.defaultdict(list)
    for group, payload in seen:
        got[group].append(payload)
    assert got == expected
