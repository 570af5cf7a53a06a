# SPDX-License-Identifier: MIT
"""Workers over HTTP: what they fetch and how it ends, also when another door
began it."""
import json
import threading
import time

import pytest

from daemon import wait_until
from web import Web, empty, fetch, show

HTTP = True


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def test_fetch_and_done(w, c, q):
    a, b = w.add(q, {"n": 1}), w.add(q, b"t")
    jobs = fetch(w, q, count=5, lease="10m", worker="me")
    assert [j["id"] for j in jobs] == [a, b]
    assert jobs[0]["payload"] == {"n": 1}
    assert jobs[0]["attempt"] == 1
    assert jobs[0]["lease_until"] >= jobs[0]["started_at"] + 599000
    assert "token" not in show(w, a)
    empty(w.post("/v1/jobs/%s/done" % a,
                 {"token": jobs[0]["token"], "result": {"ok": [1]}}))
    job = show(w, a)
    assert job["state"] == "completed" and job["result"] == {"ok": [1]}
    assert job["result_encoding"] == "json"
    assert job["finished_at"] >= job["started_at"]
    assert json.loads(c.get(a)["result"]) == {"ok": [1]}
    # By the query, without a result.
    empty(w.post("/v1/jobs/%s/done" % b, token=jobs[1]["token"]))
    assert "result" not in show(w, b)
    assert fetch(w, q) == []


@pytest.mark.parametrize("result, encoding", [
    ("just text", "text"), ("\udcff\udcfe", "base64"), ('{"a":1}', "json")])
def test_results_of_resp_workers(w, c, q, result, encoding):
    id = w.add(q)
    c.done(c.fetch1(q), result)
    job = show(w, id)
    assert job["result_encoding"] == encoding
    want = {"text": "just text", "base64": "//4=", "json": {"a": 1}}
    assert job["result"] == want[encoding]


def test_done_with_a_binary_result(w, c, q):
    id = w.add(q)
    j, = fetch(w, q)
    empty(w.post("/v1/jobs/%s/done" % id, {
        "token": j["token"], "result": "//4=", "result_encoding": "base64"}))
    assert c.get(id)["result"] == "\udcff\udcfe"


def test_a_job_crosses_the_doors(w, c, q):
    # RESP adds, HTTP fetches, RESP completes with HTTP's token.
    id = c.add(q, "p")
    j, = fetch(w, q)
    assert j["id"] == id
    assert c.done(j, "r") == "OK"
    assert show(w, id)["result"] == "r"
    # HTTP adds, RESP fetches, HTTP completes with RESP's token.
    id = w.add(q, b"p")
    j = c.fetch1(q)
    assert j["id"] == id
    empty(w.post("/v1/jobs/%s/done" % id, token=j["token"]))
    assert c.state(id) == "completed"


def test_fail_retries_then_fails(w, c, q):
    id = w.add(q, b"x", attempts=2, backoff="fixed", backoff_delay="1h",
               backoff_jitter=0)
    j, = fetch(w, q)
    r = w.post("/v1/jobs/%s/fail" % id,
               {"token": j["token"], "message": "boom 1"})
    assert r.status == 200, r
    assert r.json == {"id": id, "state": "delayed"}
    job = show(w, id)
    assert job["error_count"] == 1 and job["state"] == "delayed"
    assert job["run_at"] >= job["errors"][0]["at"] + 3599000
    assert [e["message"] for e in job["errors"]] == ["boom 1"]
    empty(w.post("/v1/jobs/%s/promote" % id))
    j, = fetch(w, q)
    assert j["attempt"] == 2
    r = w.post("/v1/jobs/%s/fail" % id,
               {"token": j["token"], "message": "boom 2"})
    assert r.json["state"] == "failed"
    job = show(w, id)
    assert job["error"] == "boom 2" and len(job["errors"]) == 2
    assert c.get(id)["error"] == "boom 2"


def test_fail_with_delay_and_final(w, q):
    a, b = w.add(q), w.add(q)
    ja, jb = fetch(w, q, count=2)
    r = w.post("/v1/jobs/%s/fail" % a, {
        "token": ja["token"], "message": "m", "delay": "2h"})
    assert r.json["state"] == "delayed"
    job = show(w, a)
    assert job["run_at"] >= job["errors"][0]["at"] + 7199000
    r = w.post("/v1/jobs/%s/fail" % b, {
        "token": jb["token"], "message": "m", "final": True})
    assert r.json == {"id": b, "state": "failed"}


def test_release_gives_the_start_back(w, q):
    id = w.add(q)
    j, = fetch(w, q)
    assert j["attempt"] == 1
    empty(w.post("/v1/jobs/%s/release" % id, {"token": j["token"]}))
    job = show(w, id)
    assert (job["state"], job["attempt"]) == ("waiting", 0)
    j, = fetch(w, q)
    assert j["attempt"] == 1
    empty(w.post("/v1/jobs/%s/release" % id, token=j["token"], delay="1h"))
    job = show(w, id)
    assert (job["state"], job["attempt"]) == ("delayed", 0)
    assert job.get("error_count", 0) == 0


def test_extend_and_progress(w, c, q):
    id = w.add(q)
    j, = fetch(w, q, lease="1m")
    empty(w.post("/v1/jobs/%s/extend" % id,
                 {"token": j["token"], "lease": "2h"}))
    assert show(w, id)["lease_until"] >= j["lease_until"] + 3600000
    empty(w.post("/v1/jobs/%s/progress" % id,
                 {"token": j["token"], "value": 40}))
    job = show(w, id)
    assert str(job["progress"]) == "40"
    assert str(c.get(id)["progress"]) == "40"


@pytest.mark.parametrize("verb, more", [
    ("done", {}), ("fail", {"message": "m"}), ("release", {}),
    ("extend", {"lease": "5s"}), ("progress", {"value": 1})])
def test_tokens_that_do_not_hold(w, c, q, verb, more):
    id = w.add(q)
    path = "/v1/jobs/%s/%s" % (id, verb)
    # Before it was fetched, and after somebody else has it.
    j, = fetch(w, q)
    empty(w.post("/v1/jobs/%s/release" % id, token=j["token"]))
    assert c.fetch1(q)["id"] == id
    r = w.post(path, dict(more, token=j["token"]))
    assert r.status == 409 and r.code == "STALE", r
    r = w.post(path, dict(more))
    assert r.status == 400 and "token" in r.detail, r
    r = w.post("/v1/jobs/9999999999/" + verb, dict(more, token=j["token"]))
    assert r.status in (404, 409) and r.code in ("NOTFOUND", "STALE"), r
    r = w.post("/v1/jobs/12x/" + verb, dict(more, token=j["token"]))
    assert r.status == 400 and r.code == "BADARG", r
    assert c.state(id) == "active"


def test_a_lost_lease_is_stale(w, q):
    id = w.add(q)
    j, = fetch(w, q, lease="100ms")
    wait_until(lambda: show(w, id)["state"] != "active", "the lease's end")
    assert show(w, id)["stalled"] == 1
    r = w.post("/v1/jobs/%s/done" % id, token=j["token"])
    assert r.status == 409 and r.code == "STALE"


@pytest.mark.parametrize("verb, query", [
    ("fetch", "count=0"), ("fetch", "count=x"), ("fetch", "wait=5"),
    ("fetch", "lease=0s"), ("fetch", "other=1")])
def test_bad_fetches(w, q, verb, query):
    r = w.post("/v1/queues/%s/%s?%s" % (q, verb, query))
    assert r.status == 400 and query.split("=")[0] in r.detail, r


def test_fetch_waits_at_least_as_told(w, q):
    began = time.monotonic()
    assert fetch(w, q, wait="300ms") == []
    assert time.monotonic() - began >= 0.29


def test_fetch_is_woken_by_a_resp_client(bh, c, q):
    got = []

    def worker():
        with Web(bh) as mine:
            got.extend(fetch(mine, q, wait="40s"))

    t = threading.Thread(target=worker)
    t.start()
    id = c.add(q, "late")
    t.join()
    assert [j["id"] for j in got] == [id]
