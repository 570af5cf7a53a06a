# SPDX-License-Identifier: MIT
"""Queues, schedules, the cache and limits over HTTP: each path, status and
field that clients rely on."""
import json
import time

import pytest

from daemon import wait_until
from web import Web, empty

HTTP = True
OPTIONS = {"max_schedules": 50}
CONFIG = """queues = (
  { name = "full.*"; max_waiting = 3; },
  { name = "dying.*"; attempts = 1; dead_letter = "dead"; }
);"""

FIGURES = ("waiting delayed active completed failed processed_total "
           "failed_total stalled_total").split()
TIMES = "oldest_waiting_ms p50_ms p95_ms p99_ms".split()


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def ok(r):
    assert r.status == 200, r
    assert r.headers["content-type"].startswith("application/json"), r
    return r.json


def check_stats(s):
    for name in FIGURES:
        assert type(s[name]) is int, (name, s)
    for name in TIMES:
        assert type(s[name]) in (int, float), (name, s)
    assert s["paused"] in (True, False, 0, 1), s
    return s


def die(w, queue, message, **query):
    """A job that failed for good; its id."""
    id = w.add(queue, **query)
    j, = w.fetch(queue)
    assert j["id"] == id
    r = w.post("/v1/jobs/%s/fail" % id,
               {"token": j["token"], "message": message, "final": True})
    assert ok(r)["state"] == "failed"
    return id


# Queues.

def test_all_queues(w, c, q):
    w.add(q)
    w.add(q, delay="1h")
    all_ = ok(w.get("/v1/queues"))
    assert type(all_) is list
    for s in all_:
        assert type(s["queue"]) is str
        check_stats(s)
    mine, = [s for s in all_ if s["queue"] == q]
    assert (mine["waiting"], mine["delayed"]) == (1, 1)
    assert q in c.call("QUEUE.LIST")


def test_one_queue(w, c, q):
    s = check_stats(ok(w.get("/v1/queues/" + q)))
    assert not any(s[n] for n in FIGURES) and not s["paused"]
    a = w.add(q)
    w.add(q)
    j, = w.fetch(q)
    s = ok(w.get("/v1/queues/" + q))
    assert (s["waiting"], s["active"]) == (1, 1)
    w.post("/v1/jobs/%s/done" % a, token=j["token"])
    s = ok(w.get("/v1/queues/" + q))
    assert (s["active"], s["completed"], s["processed_total"]) == (0, 1, 1)
    resp = c.stats(q)
    assert [resp[n] for n in FIGURES] == [s[n] for n in FIGURES]


def test_pages_of_jobs(w, c, q):
    ids = [w.add(q, b"%d" % n) for n in range(7)]
    path = "/v1/queues/%s/jobs" % q
    seen, cursor, pages = [], "0", 0
    while True:
        page = ok(w.get(path, state="waiting", cursor=cursor, count=3))
        assert set(page) == {"cursor", "jobs"}
        assert type(page["cursor"]) is str
        assert len(page["jobs"]) <= 3
        seen += [j["id"] for j in page["jobs"]]
        cursor, pages = page["cursor"], pages + 1
        if cursor == "0":
            break
    assert seen == ids and pages >= 3
    back = ok(w.get(path, state="waiting", reverse="true", count=2))
    assert [j["id"] for j in back["jobs"]] == ids[:-3:-1]
    back = ok(w.get(path, state="waiting", reverse="true", count=50,
                    cursor=back["cursor"]))
    assert [j["id"] for j in back["jobs"]] == ids[-3::-1]
    for state in ("delayed", "active", "completed", "failed"):
        assert ok(w.get(path, state=state)) == {"cursor": "0", "jobs": []}
    # As over the other door.
    assert [j["id"] for j in c.list_all(q, "waiting", COUNT=2)] == ids


@pytest.mark.parametrize("query, name", [
    ("state=other", "state"), ("state=waiting&count=0", "count"),
    ("state=waiting&cursor=x", "cursor"), ("state=waiting&limit=1", "limit"),
    ("state=waiting&reverse=2", "reverse"), ("", "state")])
def test_bad_pages(w, q, query, name):
    r = w.get("/v1/queues/%s/jobs?%s" % (q, query))
    assert r.status == 400 and r.code in ("BADARG", "ERR"), r
    assert name in r.detail, r


def test_pause_and_resume(w, c, q):
    empty(w.post("/v1/queues/%s/pause" % q))
    empty(w.post("/v1/queues/%s/pause" % q))
    assert ok(w.get("/v1/queues/" + q))["paused"]
    id = w.add(q)
    assert w.fetch(q) == [] and c.fetch(q) == []
    empty(w.post("/v1/queues/%s/resume" % q))
    assert not ok(w.get("/v1/queues/" + q))["paused"]
    assert w.fetch(q)[0]["id"] == id
    # By the other door.
    c.call("QUEUE.PAUSE", q)
    s = ok(w.get("/v1/queues/" + q))
    assert s["paused"] and type(s["paused_at"]) is int and s["paused_by"]


def test_hold(w, c, q):
    id = w.add(q)
    empty(w.post("/v1/queues/%s/hold" % q, **{"for": "1h", "reason": "full"}))
    s = ok(w.get("/v1/queues/" + q))
    assert s["held_reason"] == "full"
    assert s["held_until"] > time.time() * 1000 + 3500000
    assert w.fetch(q) == []
    empty(w.post("/v1/queues/%s/resume" % q))
    assert w.fetch(q)[0]["id"] == id
    r = w.post("/v1/queues/%s/hold" % q)
    assert r.status == 400 and "for" in r.detail, r
    r = w.post("/v1/queues/%s/hold" % q, **{"for": "60"})
    assert r.status == 400 and "for" in r.detail, r


def test_a_hold_ends_by_itself(w, q):
    id = w.add(q)
    empty(w.post("/v1/queues/%s/hold" % q, **{"for": "200ms"}))
    assert w.fetch(q, wait="40s")[0]["id"] == id


def test_errors_retry_and_purge_by_fingerprint(w, c, q):
    a = die(w, q, "no room 17 for 'ana'")
    b = die(w, q, "no room 99 for 'bob'")
    other = die(w, q, "printer on fire")
    errors = ok(w.get("/v1/queues/%s/errors" % q))
    assert [e["count"] for e in errors] == [2, 1]
    for e in errors:
        assert set(e) == {"fingerprint", "count", "first_at", "last_at",
                          "sample_id", "text"}, e
        assert type(e["fingerprint"]) is str and type(e["sample_id"]) is str
        assert type(e["first_at"]) is int and e["last_at"] >= e["first_at"]
    assert errors[0]["sample_id"] in (a, b)
    rooms, fire = errors[0]["fingerprint"], errors[1]["fingerprint"]
    page = ok(w.get("/v1/queues/%s/jobs" % q, state="failed", error=rooms))
    assert {j["id"] for j in page["jobs"]} == {a, b}
    assert ok(w.post("/v1/queues/%s/retry" % q, error=rooms)) == {"count": 2}
    assert c.state(a) == c.state(b) == "waiting"
    assert c.state(other) == "failed"
    assert ok(w.post("/v1/queues/%s/purge" % q, state="failed",
                     error=rooms)) == {"count": 0}
    assert ok(w.post("/v1/queues/%s/purge" % q, state="failed",
                     error=fire)) == {"count": 1}
    assert c.get(other) is None
    assert ok(w.get("/v1/queues/%s/errors" % q)) == []
    assert ok(w.post("/v1/queues/%s/retry" % q)) == {"count": 0}


def test_purge_by_state(w, q):
    w.add(q)
    w.add(q, delay="1h")
    w.add(q)
    path = "/v1/queues/%s/purge" % q
    assert ok(w.post(path, state="waiting")) == {"count": 2}
    s = ok(w.get("/v1/queues/" + q))
    assert (s["waiting"], s["delayed"]) == (0, 1)
    assert ok(w.post(path, state="delayed")) == {"count": 1}
    for query in ({}, {"state": "x"}):
        r = w.post(path, **query)
        assert r.status == 400 and "state" in r.detail, r
    r = w.post(path, state="active")
    assert r.status in (400, 409), r


def test_a_purge_of_many(w, q):
    lines = "\n".join('{"payload":%d}' % n for n in range(3000))
    r = w.post("/v1/queues/%s/jobs:batch" % q, lines)
    assert r.status == 202 and len(set(r.json["ids"])) == 3000
    assert ok(w.post("/v1/queues/%s/purge" % q,
                     state="waiting")) == {"count": 3000}


def test_queuefull(w, c, named):
    full = named("full")
    ids = [w.add(full) for _ in range(3)]
    r = w.post("/v1/queues/%s/jobs" % full, b"x")
    assert r.status == 429 and r.code == "QUEUEFULL", r
    assert int(r.headers["retry-after"]) >= 1
    assert ok(w.get("/v1/queues/" + full))["waiting"] == 3
    # A batch that does not fit is refused whole.
    w.delete("/v1/jobs/" + ids[0])
    r = w.post("/v1/queues/%s/jobs:batch" % full,
               '{"payload":1}\n{"payload":2}\n')
    assert r.status == 429 and r.code == "QUEUEFULL", r
    assert int(r.headers["retry-after"]) >= 1
    assert c.stats(full)["waiting"] == 2
    assert w.post("/v1/queues/%s/jobs" % full, b"x").status == 202


def test_dead_letters(w, named):
    queue = named("dying")
    id = die(w, queue, "gone")
    page = ok(w.get("/v1/queues/dead/jobs", state="waiting"))
    mine = [j for j in page["jobs"] if id in json.dumps(j.get("origin"))]
    assert len(mine) == 1, page


def test_max_queues(make):
    d = make({"max_queues": 3}, http=True)
    with Web(d) as w:
        for n in range(3):
            w.add("n%d" % n)
        r = w.post("/v1/queues/one-too-many/jobs", b"x")
        assert 400 <= r.status < 500, r
        assert "max_queues" in r.detail, r
        assert len(ok(w.get("/v1/queues"))) == 3


# Schedules.

SCHEDULE = {"queue": "report", "payload": {"kind": "night"},
            "cron": "0 6 * * *", "tz": "Europe/Lisbon"}


def test_schedule_crud(w, c, q):
    path = "/v1/schedules/" + q
    r = w.get(path)
    assert r.status == 404 and r.code == "NOTFOUND", r
    r = w.delete(path)
    assert r.status == 404 and r.code == "NOTFOUND", r
    empty(w.put(path, dict(SCHEDULE, priority=2, attempts=3, group="g")))
    s = ok(w.get(path))
    assert s["name"] == q and s["queue"] == "report"
    assert s["cron"] == "0 6 * * *" and s["tz"] == "Europe/Lisbon"
    assert s["misfire"] == "once" and s["overlap"] == "skip"
    assert type(s["next_at"]) is int and s["next_at"] > time.time() * 1000
    assert s["next_at"] % 3600000 == 0
    assert type(s["created_at"]) is int
    assert s["ticks"] == []
    assert s["options"]["priority"] == 2 and s["options"]["attempts"] == 3
    assert s["options"]["group"] == "g"
    assert s["payload"] == {"kind": "night"}
    assert [x["name"] for x in ok(w.get("/v1/schedules"))].count(q) == 1
    # The same row over the other door.
    flat = c.call("SCHEDULE.LIST", q)[0]
    assert flat["next_at"] == s["next_at"]
    assert json.loads(flat["payload"]) == {"kind": "night"}
    # PUT replaces.
    empty(w.put(path, {"queue": "report", "payload": 1, "every": "10m",
                       "misfire": "all", "overlap": "queue"}))
    s = ok(w.get(path))
    assert s["every_ms"] == 600000 and "cron" not in s
    assert (s["misfire"], s["overlap"]) == ("all", "queue")
    assert "priority" not in s.get("options", {})
    empty(w.delete(path))
    assert w.get(path).status == 404
    assert c.call("SCHEDULE.LIST", q) == []


def test_a_schedule_ticks(w, q):
    empty(w.put("/v1/schedules/" + q,
                {"queue": q, "payload": {"n": 1}, "every": "100ms",
                 "overlap": "queue"}))
    try:
        for _ in range(2):
            j, = w.fetch(q, wait="40s")
            assert j["payload"] == {"n": 1}
            empty(w.post("/v1/jobs/%s/done" % j["id"], token=j["token"]))
        ticks = ok(w.get("/v1/schedules/" + q))["ticks"]
        assert len(ticks) >= 2
        for t in ticks:
            assert t["outcome"] in ("ran", "late", "skipped")
            assert type(t["due"]) is int and type(t["at"]) is int
            assert type(t.get("job", "")) is str
    finally:
        empty(w.delete("/v1/schedules/" + q))


@pytest.mark.parametrize("change, name", [
    ({"cron": "61 * * * *"}, "cron"), ({"cron": "* * *"}, "cron"),
    ({"tz": "Mars/Base"}, "tz"), ({"every": "5m"}, "every"),
    ({"cron": None}, "cron"), ({"queue": None}, "queue"),
    ({"queue": "a b"}, "queue"), ({"misfire": "maybe"}, "misfire"),
    ({"overlap": 1}, "overlap"), ({"colour": "red"}, "colour"),
    ({"priority": 12}, "priority"),
    ({"cron": "0 0 30 2 *"}, "cron")])
def test_bad_schedules(w, q, change, name):
    body = {k: v for k, v in dict(SCHEDULE, **change).items()
            if v is not None}
    r = w.put("/v1/schedules/" + q, body)
    assert r.status == 400 and r.code in ("BADARG", "ERR"), r
    assert name in r.detail, r
    assert w.get("/v1/schedules/" + q).status == 404


def test_a_schedule_that_is_no_json(w, q):
    for body in (b"", b"{", b"[]", b"7"):
        r = w.put("/v1/schedules/" + q, body)
        assert r.status == 400 and r.detail, r


def test_max_schedules(make):
    d = make({"max_schedules": 1}, http=True)
    with Web(d) as w:
        empty(w.put("/v1/schedules/a", SCHEDULE))
        r = w.put("/v1/schedules/b", SCHEDULE)
        assert r.status == 429 and r.code == "QUEUEFULL", r
        assert "max_schedules" in r.detail
        empty(w.put("/v1/schedules/a", SCHEDULE))


# The cache.

@pytest.mark.parametrize("body", [
    b"plain", b"", b"\x00\xff\r\n\r\n", bytes(range(256)) * 300, b'{"a":1}'],
    ids=len)
def test_cache_bytes(w, q, body):
    empty(w.put("/v1/cache/" + q, body))
    r = w.get("/v1/cache/" + q)
    assert r.status == 200 and r.body == body
    assert int(r.headers["content-length"]) == len(body)


def test_cache_life(w, c, q):
    path = "/v1/cache/" + q
    r = w.get(path)
    assert r.status == 404 and r.code == "NOTFOUND"
    empty(w.put(path, b"v", ttl="1h"))
    assert c.call("GET", "cache:" + q) == "v"
    assert 3590 <= c.call("TTL", "cache:" + q) <= 3600
    # Without a ttl it stays.
    empty(w.put(path, b"w"))
    assert c.call("TTL", "cache:" + q) == -1
    empty(w.delete(path))
    assert w.get(path).status == 404
    c.call("SET", "cache:" + q, "by resp")
    assert w.get(path).body == b"by resp"
    assert w.delete(path).status == 204
    assert c.call("EXISTS", "cache:" + q) == 0


def test_cache_expires(w, q):
    path = "/v1/cache/" + q
    empty(w.put(path, b"v", ttl="50ms"))
    wait_until(lambda: w.get(path).status == 404, "the expiry")


def test_cache_keys_are_decoded(w, c, q):
    empty(w.put("/v1/cache/a%2Fb%20%C3%A9" + q, b"v"))
    assert c.call("GET", "cache:a/b \u00e9" + q) == "v"


@pytest.mark.parametrize("query", ["ttl=5", "ttl=-1s", "ttl=", "life=5s"])
def test_bad_cache_options(w, q, query):
    r = w.put("/v1/cache/%s?%s" % (q, query), b"v")
    assert r.status == 400 and query.split("=")[0] in r.detail, r
    assert w.get("/v1/cache/" + q).status == 404


def test_cache_methods(w):
    for method in ("POST", "PATCH"):
        r = w.ask(method, "/v1/cache/k", b"v")
        assert r.status == 405
        assert {"GET", "PUT", "DELETE"} <= {
            x.strip() for x in r.headers["allow"].split(",")}


# Limits.

def take(w, key, **query):
    r = w.post("/v1/limits/" + key, **query)
    limit, left, reset = (int(r.headers["ratelimit-" + n])
                          for n in ("limit", "remaining", "reset"))
    assert limit >= left >= 0 and reset >= 0
    if r.status == 429:
        assert int(r.headers["retry-after"]) >= 1
    else:
        assert r.status == 200, r
        assert "retry-after" not in r.headers
    return r.status, left


def test_a_limit(w, q):
    got = [take(w, q, rate=3, per="1h") for _ in range(5)]
    assert got == [(200, 2), (200, 1), (200, 0), (429, 0), (429, 0)]
    # Each key has its own.
    assert take(w, q + "other", rate=3, per="1h") == (200, 2)


def test_burst_and_quantity(w, q):
    assert take(w, q, rate=2, per="1h", burst=10, quantity=7) == (200, 3)
    assert take(w, q, rate=2, per="1h", burst=10, quantity=4) == (429, 3)
    assert take(w, q, rate=2, per="1h", burst=10, quantity=3) == (200, 0)


def test_a_limit_refills(w, q):
    assert take(w, q, rate=1, per="100ms")[0] == 200
    wait_until(lambda: take(w, q, rate=1, per="100ms")[0] == 200, "a token")


@pytest.mark.parametrize("query, name", [
    ("", "rate"), ("rate=5", "per"), ("per=5s", "rate"),
    ("rate=0&per=5s", "rate"), ("rate=a&per=5s", "rate"),
    ("rate=5&per=60", "per"), ("rate=5&per=0s", "per"),
    ("rate=5&per=5s&burst=0", "burst"), ("rate=5&per=5s&x=1", "x")])
def test_bad_limits(w, q, query, name):
    r = w.post("/v1/limits/%s?%s" % (q, query))
    assert r.status == 400 and r.code in ("BADARG", "ERR"), r
    assert name in r.detail, r
