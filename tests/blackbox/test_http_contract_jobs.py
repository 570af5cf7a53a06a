# SPDX-License-Identifier: MIT
"""Jobs over HTTP: each path, status and field that clients rely on, and that
a job is the same one through both doors."""
import base64
import json
import threading
import time

import pytest

from daemon import wait_until
from web import Web, check_job, empty, fetch, show

HTTP = True
OPTIONS = {"max_payload": "64KiB", "max_result": "64KiB"}
CONFIG = """queues = (
  { name = "slow.*"; rate = { limit = 1; per = "1h"; }; },
  { name = "few.*"; max_waiting = 2; },
  { name = "short.*"; attempts = 1; }
);"""


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def test_added_202_with_three_fields(w, q):
    r = w.post("/v1/queues/%s/jobs" % q, {"to": "ana"})
    assert r.status == 202
    assert r.headers["content-type"].startswith("application/json")
    assert set(r.json) == {"id", "queue", "state"}
    assert type(r.json["id"]) is str and r.json["id"].isdigit()
    assert r.json["queue"] == q and r.json["state"] == "waiting"
    job = show(w, r.json["id"])
    assert job["payload"] == {"to": "ana"}
    assert job["payload_encoding"] == "json"
    assert "token" not in job


def test_ids_ascend(w, q):
    ids = [int(w.add(q)) for _ in range(5)]
    assert ids == sorted(set(ids))


def test_defaults_of_a_job(w, q):
    before = int(time.time() * 1000) - 1000
    job = show(w, w.add(q))
    assert job["priority"] == 5
    assert job["attempts"] == 12
    assert job["attempt"] == 0
    assert job["state"] == "waiting"
    assert job["created_at"] >= before
    assert "expires_at" not in job and "group" not in job
    assert "result" not in job and "finished_at" not in job


@pytest.mark.parametrize("body, encoding, shown", [
    (b'{"a":[1,2.5,null,true,"x"]}', "json",
     {"a": [1, 2.5, None, True, "x"]}),
    (b"[]", "json", []),
    (b"12", "json", 12),
    (b'"s"', "json", "s"),
    (b"null", "json", None),
    (b"hello there", "text", "hello there"),
    ("gr\u00fc\u00df dich \U0001f600 \"q\" \\ \t\n\x01".encode(), "text",
     "gr\u00fc\u00df dich \U0001f600 \"q\" \\ \t\n\x01"),
    (b'{"a":', "text", '{"a":'),
    (b'{"a":1} x', "text", '{"a":1} x'),
    (b"\xff\xfe\x00", "base64", base64.b64encode(b"\xff\xfe\x00").decode()),
    (b"", "text", ""),
])
def test_payload_encodings(w, c, q, body, encoding, shown):
    id = w.add(q, body)
    job = show(w, id)
    assert (job["payload_encoding"], job["payload"]) == (encoding, shown)
    # The same bytes through the other door.
    assert c.get(id)["payload"].encode("utf-8", "surrogateescape") == body


def test_big_integers_survive_as_text(w, q):
    body = b'{"n":9007199254740993123,"f":1.10}'
    r = w.get("/v1/jobs/" + w.add(q, body))
    assert b'"payload":' + body in r.body.replace(b'": ', b'":')


def test_every_option_arrives(w, c, q):
    now = int(time.time() * 1000)
    id = w.add(q, b"x", delay="2h", priority=0, expires="1d", attempts=3,
               backoff="fixed", backoff_delay="7s", timeout="90s",
               lease="45s", max_stalled=4, group="g/1 x", unique="k&1",
               unique_ttl="1h", unique_mode="replace", retain="5m")
    job = show(w, id)
    assert job["state"] == "delayed"
    assert job["priority"] == 0 and job["attempts"] == 3
    assert job["group"] == "g/1 x" and job["unique"] == "k&1"
    assert job["run_at"] >= now + 7200000 - 1000
    assert job["expires_at"] - job["run_at"] == 86400000
    assert c.get(id)["state"] == "delayed"


@pytest.mark.parametrize("text, ms", [
    ("500ms", 500), ("2s", 2000), ("5m", 300000), ("1h", 3600000),
    ("7d", 604800000)])
def test_units_of_a_duration(w, q, text, ms):
    id = w.add(q, b"x", delay="1h", expires=text)
    job = show(w, id)
    assert job["expires_at"] - job["run_at"] == ms


@pytest.mark.parametrize("query", [
    "delay=5", "delay=", "delay=s", "delay=-1s", "delay=5%20s", "delay=5y",
    "priority=10", "priority=-1", "priority=a", "attempts=0", "attempts=1.5",
    "unique_mode=other&unique=a", "unique_ttl=5s", "backoff=linear",
    "timeout=0x10s", "nonsense=1", "delay=1s&delay=2s", "delay=1s&at=5",
    "max_stalled=-1", "delay=99999999999999999999d", "at=yesterday",
    "expires=1", "retain=x", "lease=0s"])
def test_a_bad_option_is_400_and_stores_nothing(w, q, query):
    r = w.post("/v1/queues/%s/jobs?%s" % (q, query), b"x")
    assert r.status == 400, r
    assert r.code in ("BADARG", "ERR") and r.detail
    name = query.split("=")[0]
    assert name in r.detail.lower(), r
    assert w.get("/v1/queues/" + q).json["waiting"] == 0


@pytest.mark.parametrize("name", ["group", "unique"])
def test_a_long_key_is_413(w, q, name):
    w.add(q, b"x", **{name: "k" * 256})
    r = w.post("/v1/queues/%s/jobs" % q, b"x", **{name: "k" * 257})
    assert r.status == 413 and r.code == "TOOBIG", r
    assert name in r.detail and "256" in r.detail, r


def test_a_malformed_query(w, q):
    for query in ("group=%zz", "group=%", "group=%4"):
        r = w.post("/v1/queues/%s/jobs?%s" % (q, query), b"x")
        assert r.status == 400 and r.code == "BADARG", r


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "q" * 129, "%C3%A9"])
def test_bad_queue_names(w, name):
    r = w.post("/v1/queues/%s/jobs" % name, b"x")
    assert r.status == 400 and r.code == "BADARG", r


def test_at_is_ms_or_a_date(w, q):
    at = int(time.time() * 1000) + 86400000
    assert show(w, w.add(q, b"x", at=at))["run_at"] == at
    job = show(w, w.add(q, b"x", at="2099-03-01T06:00:00+01:00"))
    assert job["run_at"] == 4076024400000


def test_duplicates_are_200(w, c, q):
    first = w.post("/v1/queues/%s/jobs" % q, b"1", unique="k")
    again = w.post("/v1/queues/%s/jobs" % q, b"2", unique="k")
    assert first.status == 202 and "duplicate" not in first.json
    assert again.status == 200
    assert again.json == dict(first.json, duplicate=True)
    # Also of a job that came in by the other door, and the other way round.
    assert c.add(q, "3", UNIQUE="k") == first.json["id"]
    assert show(w, first.json["id"])["payload"] == 1
    # A finished job frees the key.
    w.delete("/v1/jobs/" + first.json["id"])
    third = w.post("/v1/queues/%s/jobs" % q, b"4", unique="k")
    assert third.status == 202 and third.json["id"] != first.json["id"]


def test_replace_and_follow(w, q):
    add = "/v1/queues/%s/jobs" % q
    a = w.post(add, b"1", unique="k", unique_mode="replace", delay="1h")
    b = w.post(add, b"2", unique="k", unique_mode="replace")
    assert b.status == 200 and b.json["id"] == a.json["id"]
    assert b.json["state"] == "waiting"
    assert show(w, a.json["id"])["payload"] == 2
    job, = fetch(w, q)
    f = w.post(add, b"3", unique="k", unique_mode="follow")
    assert f.json["id"] != job["id"]
    g = w.post(add, b"4", unique="k", unique_mode="follow")
    assert w.fetch(q) == []
    empty(w.post("/v1/jobs/%s/done" % job["id"], {"token": job["token"]}))
    nxt, = fetch(w, q)
    assert nxt["id"] == g.json["id"] and nxt["payload"] == 4


# Batches.

def batch(w, q, *lines):
    body = "\n".join(x if isinstance(x, str) else json.dumps(x)
                     for x in lines) + "\n"
    return w.post("/v1/queues/%s/jobs:batch" % q, body)


def test_a_batch(w, c, q):
    r = batch(w, q, {"payload": {"n": 1}},
              {"payload": "text", "payload_encoding": "text", "priority": 2},
              {"payload": "/wA=", "payload_encoding": "base64"},
              {"payload": [1], "delay": "1h", "group": "g", "attempts": 2},
              {"payload": "s"},
              {"payload": None, "backoff": {"type": "fixed", "delay": "1s"}})
    assert r.status == 202, r
    ids = r.json["ids"]
    assert len(ids) == 6 and all(type(i) is str for i in ids)
    assert [int(i) for i in ids] == sorted(int(i) for i in ids)
    assert [j["id"] for j in r.json["jobs"]] == ids
    assert [j["state"] for j in r.json["jobs"]] == ["waiting"] * 3 + [
        "delayed"] + ["waiting"] * 2
    assert [c.get(i)["payload"].encode("utf-8", "surrogateescape")
            for i in ids] == [b'{"n": 1}', b"text", b"\xff\x00", b"[1]",
                              b'"s"', b"null"]
    assert show(w, ids[1])["priority"] == 2
    assert show(w, ids[3])["group"] == "g"


def test_a_batch_without_final_newline_and_with_crlf(w, q):
    r = w.post("/v1/queues/%s/jobs:batch" % q,
               b'{"payload":1}\r\n{"payload":2}')
    assert r.status == 202 and len(r.json["ids"]) == 2


@pytest.mark.parametrize("bad", [
    "{", "[]", "{}", "7", '{"payload":1,"delay":5}', '{"payload":1,"x":2}',
    '{"payload":1,"priority":11}', '{"payload":1} {"payload":2}',
    '{"payload":1,"payload_encoding":"rot13"}',
    '{"payload":"*","payload_encoding":"base64"}',
    '{"payload":{"a":1},"payload_encoding":"text"}',
    '{"payload":"%s"}' % ("x" * 65537)])
def test_a_bad_line_is_named_and_adds_nothing(w, q, bad):
    r = batch(w, q, {"payload": 1}, {"payload": 2}, bad, {"payload": 4})
    assert r.status in (400, 413), r
    assert r.code in ("BADARG", "ERR", "TOOBIG")
    assert "line 3" in r.detail, r
    # Blank lines are no jobs, but lines.
    r = batch(w, q, {"payload": 1}, "", " ", bad)
    assert "line 4" in r.detail, r
    assert w.get("/v1/queues/" + q).json["waiting"] == 0


@pytest.mark.embedded("known difference: the first one of the chain is named")
def test_what_the_store_refuses_is_a_line_too(w, named):
    r = batch(w, named("few"), {"payload": 1}, "", {"payload": 2},
              {"payload": 3})
    assert r.status == 429 and r.code == "QUEUEFULL", r
    assert "line 4" in r.detail, r


def test_an_empty_batch_is_refused(w, q):
    r = w.post("/v1/queues/%s/jobs:batch" % q, b"")
    assert r.status == 400, r


def test_duplicates_in_a_batch(w, q):
    old = w.add(q, b"0", unique="a")
    r = batch(w, q, {"payload": 1, "unique": "a"},
              {"payload": 2, "unique": "b"}, {"payload": 3, "unique": "b"})
    assert r.status in (200, 202), r
    a, b, again = r.json["jobs"]
    assert a["id"] == old and a["duplicate"] is True
    assert again["id"] == b["id"] and again["duplicate"] is True
    assert not b.get("duplicate")
    assert w.get("/v1/queues/" + q).json["waiting"] == 2


# One job.

def test_wait_returns_the_result(bh, c, q):
    id = c.add(q, "x")
    got = []

    def waiter():
        with Web(bh) as mine:
            got.append(mine.get("/v1/jobs/" + id, wait="40s"))

    t = threading.Thread(target=waiter)
    t.start()
    c.done(c.fetch1(q), '"yes"')
    t.join()
    assert got[0].status == 200
    assert check_job(got[0].json)["state"] == "completed"
    assert got[0].json["result"] == "yes"


def test_wait_ends_with_the_job_as_it_is(w, q):
    id = w.add(q)
    began = time.monotonic()
    r = w.get("/v1/jobs/" + id, wait="300ms")
    assert time.monotonic() - began >= 0.29
    assert r.status == 200 and r.json["state"] == "waiting"
    r = w.get("/v1/jobs/" + id, wait="1")
    assert r.status == 400 and "wait" in r.detail
    r = w.get("/v1/jobs/99999999999", wait="1s")
    assert r.status == 404 and r.code == "NOTFOUND"


def test_unknown_and_malformed_ids(w):
    for method, tail in [("GET", ""), ("DELETE", ""), ("PUT", "/payload"),
                         ("POST", "/retry"), ("POST", "/promote"),
                         ("POST", "/cancel"), ("GET", "/why")]:
        r = w.ask(method, "/v1/jobs/99999999999" + tail,
                  b"x" if method == "PUT" else None)
        assert r.status == 404 and r.code == "NOTFOUND", (method, tail, r)
        for id in ("abc", "-1", "1e3", "9" * 30):
            r = w.ask(method, "/v1/jobs/" + id + tail,
                      b"x" if method == "PUT" else None)
            assert r.status == 400 and r.code == "BADARG", (method, tail, r)


def test_delete(w, c, q):
    id = w.add(q)
    empty(w.delete("/v1/jobs/" + id))
    assert c.get(id) is None
    r = w.delete("/v1/jobs/" + id)
    assert r.status == 404 and r.code == "NOTFOUND"
    id = w.add(q)
    j, = fetch(w, q)
    r = w.delete("/v1/jobs/" + id)
    assert r.status == 409 and r.code == "CONFLICT"
    empty(w.post("/v1/jobs/%s/done" % id, token=j["token"]))
    empty(w.delete("/v1/jobs/" + id))


def test_put_payload(w, c, q):
    id = w.add(q, b"old", delay="1h")
    empty(w.put("/v1/jobs/%s/payload" % id, b'{"new":1}'))
    assert c.get(id)["payload"] == '{"new":1}'
    r = w.put("/v1/jobs/%s/payload" % id, b"x" * 65537)
    assert r.status == 413 and r.code == "TOOBIG"
    empty(w.post("/v1/jobs/%s/promote" % id))
    j, = fetch(w, q)
    r = w.put("/v1/jobs/%s/payload" % id, b"late")
    assert r.status == 409 and r.code == "CONFLICT", r
    assert j["payload"] == {"new": 1}


def test_retry_and_promote_want_their_state(w, q):
    id = w.add(q)
    for verb in ("retry", "promote"):
        r = w.post("/v1/jobs/%s/%s" % (id, verb))
        assert r.status == 409 and r.code == "CONFLICT", (verb, r)
    j, = fetch(w, q)
    w.post("/v1/jobs/%s/fail" % id, token=j["token"], message="m",
           final="true")
    empty(w.post("/v1/jobs/%s/retry" % id, fresh="true"))
    j, = fetch(w, q)
    assert j["id"] == id
    r = w.post("/v1/jobs/%s/retry" % id, fresh="perhaps")
    assert r.status == 400 and "fresh" in r.detail


def test_cancel(w, q):
    id = w.add(q, delay="1h")
    empty(w.post("/v1/jobs/%s/cancel" % id, reason="not wanted"))
    job = show(w, id)
    assert job["state"] == "failed"
    assert job["error"].startswith("cancelled"), job
    id = w.add(q)
    j, = fetch(w, q)
    empty(w.post("/v1/jobs/%s/cancel" % id))
    wait_until(lambda: show(w, id)["state"] == "failed", "the end")
    r = w.post("/v1/jobs/%s/done" % id, token=j["token"])
    assert r.status == 409 and r.code == "STALE"
    r = w.post("/v1/jobs/%s/cancel" % id)
    assert r.status == 409 and r.code == "CONFLICT"


def why(w, id):
    r = w.get("/v1/jobs/%s/why" % id)
    assert r.status == 200, r
    assert type(r.json["gate"]) is str and r.json["text"]
    assert type(r.json.get("until", 0)) is int
    return r.json


def test_why(w, named, q):
    id = w.add(q)
    assert why(w, id)["gate"] == "no_handler"
    w.post("/v1/queues/%s/pause" % q)
    assert why(w, id)["gate"] == "paused"
    w.post("/v1/queues/%s/resume" % q)
    w.post("/v1/queues/%s/hold" % q, **{"for": "1h", "reason": "429 there"})
    got = why(w, id)
    assert got["gate"] == "held" and "429 there" in got["text"]
    assert got["until"] > time.time() * 1000
    w.post("/v1/queues/%s/resume" % q)
    got = why(w, w.add(q, delay="1h"))
    assert got["gate"] == "delayed"
    assert got["until"] > time.time() * 1000
    slow = named("slow")
    w.add(slow)
    b = w.add(slow)
    fetch(w, slow)
    assert why(w, b)["gate"] == "rate"


def test_why_of_a_group(w, q):
    a, b = w.add(q, group="g"), w.add(q, group="g")
    j, = fetch(w, q, count=5)
    assert j["id"] == a
    got = why(w, b)
    assert got["gate"] == "group" and got["ahead"] == a


def test_options_of_the_configuration_hold(w, named):
    short = named("short")
    id = w.add(short)
    j, = fetch(w, short)
    r = w.post("/v1/jobs/%s/fail" % id, token=j["token"], message="m")
    assert r.json["state"] == "failed"
