# SPDX-License-Identifier: MIT
"""The HTTP door: jobs, workers, queues, access."""
import base64
import gzip
import json
import socket
import sqlite3
import time

import pytest

from daemon import wait_until
from web import Reader, Web, connect, read_all

HTTP = True
OPTIONS = {"max_payload": 65536, "http_hosts": ["bell.example.org"],
           "http_origins": ["https://desk.example.org"]}
CONFIG = 'queues = ( { name = "small.*"; max_waiting = 1; } );'


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def payload(c, i):
    p = c.get(i)["payload"]
    return p.encode("utf-8", "surrogateescape")


def calls(c, command):
    """How many callers of the door are inside of this command."""
    return sum("cmd=" + command + " " in x.lower()
               for x in c.call("CLIENT", "LIST").splitlines())


# Producers.

def test_a_job_is_accepted_with_its_options(w, c, q):
    r = w.post("/v1/queues/%s/jobs" % q, {"to": "ana"}, delay="5m",
               priority=1, group="g", unique="k", attempts=3, timeout="30s",
               lease="1.5s", retain="1h", expires="2d", backoff="fixed",
               backoff_delay="2s", unique_ttl="1d", unique_mode="replace",
               max_stalled=4)
    assert r.status == 202
    assert r.headers["content-type"] == "application/json"
    assert r.json == {"id": r.json["id"], "queue": q, "state": "delayed"}
    job = c.get(r.json["id"])
    assert json.loads(job["payload"]) == {"to": "ana"}
    assert (job["priority"], job["group"], job["unique"], job["attempts"]) \
        == (1, "g", "k", 3)
    assert 299000 <= job["run_at"] - job["created_at"] <= 301000
    assert job["expires_at"] - job["run_at"] == 2 * 86400000


def test_the_payload_is_kept_to_the_byte(w, c, q):
    for body in (b'{ "n": 1.50, "n": 2 }', b"\xff\x00\r\n", b""):
        assert payload(c, w.add(q, body)) == body


def test_a_duplicate_is_answered_with_the_living_job(w, q):
    first = w.post("/v1/queues/%s/jobs" % q, b"1", unique="k")
    second = w.post("/v1/queues/%s/jobs" % q, b"2", unique="k")
    assert (first.status, second.status) == (202, 200)
    assert "duplicate" not in first.json
    assert second.json == {"id": first.json["id"], "queue": q,
                           "state": "waiting", "duplicate": True}


def test_a_time_may_be_a_date(w, c, q):
    a = w.add(q, at="2100-01-01T06:00:00+01:00")
    b = w.add(q, at="2100-01-01T05:00:00.000Z")
    n = w.add(q, at=4102462800000)
    assert {c.get(i)["run_at"] for i in (a, b, n)} == \
        {4102462800000}


@pytest.mark.parametrize("query, words", [
    ("delay=5", ["delay", "'5'", "5m"]),
    ("delay=soon", ["delay", "soon"]),
    ("colour=red", ["unknown query parameter", "colour"]),
    ("priority=10", ["priority", "10"]),
    ("delay=1s&delay=2s", ["delay", "twice"]),
    ("backoff=fixed", ["backoff_delay"]),
    ("unique_ttl=1s", ["unique_ttl", "unique"]),
    ("at=tomorrow", ["at", "tomorrow"]),
    ("group=%zz", ["%XX"]),
    ("group=%00", ["%XX"]),
])
def test_a_wrong_option_is_named(w, q, query, words):
    r = w.post("/v1/queues/%s/jobs?%s" % (q, query), b"x")
    assert (r.status, r.code) == (400, "BADARG")
    for word in words:
        assert word in r.detail
    assert w.get("/v1/queues/" + q).json["waiting"] == 0


def test_a_bad_queue_name_is_refused(w):
    assert w.post("/v1/queues/a%20b/jobs", b"x").code == "BADARG"


def test_a_full_queue_says_when_to_come_back(w, named):
    q = named("small")
    w.add(q)
    r = w.post("/v1/queues/%s/jobs" % q, b"x")
    assert (r.status, r.code) == (429, "QUEUEFULL")
    assert int(r.headers["retry-after"]) >= 1


def test_a_payload_over_the_limit_is_refused_by_name(w, bh, q):
    r = w.post("/v1/queues/%s/jobs" % q, b"x" * 65537)
    assert (r.status, r.code) == (413, "TOOBIG")
    assert "65537" in r.detail and "max_payload" in r.detail
    # In chunks, nobody says how long it is.
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/jobs HTTP/1.1\r\nHost: localhost\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n" % q.encode())
        for _ in range(3):
            s.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        s.sendall(b"0\r\n\r\n")
        r = Reader(s).answer()
        assert (r.status, r.code) == (413, "TOOBIG")
    with Web(bh) as other:
        assert other.get("/v1/queues/" + q).json["waiting"] == 0


def test_chunks_make_one_payload(bh, c, q):
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/jobs HTTP/1.1\r\nHost: localhost\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n"
                  b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n" % q.encode())
        r = Reader(s).answer()
        assert r.status == 202
    assert payload(c, r.json["id"]) == b"abcd"


def test_a_batch_is_added_as_a_whole(w, c, q):
    lines = ['{"payload": {"n" : 1.50}, "priority": 2}', "",
             '{"payload": "text", "payload_encoding": "text",'
             ' "delay": "1h", "unique": "k"}',
             json.dumps({"payload": base64.b64encode(b"\xff\0").decode(),
                         "payload_encoding": "base64",
                         "backoff": {"type": "fixed", "delay": "1s"}}),
             '{"payload":null}']
    r = w.post("/v1/queues/%s/jobs:batch" % q, "\n".join(lines))
    assert r.status == 202, r
    ids = r.json["ids"]
    assert [j["id"] for j in r.json["jobs"]] == ids and len(ids) == 4
    assert [j["state"] for j in r.json["jobs"]] == \
        ["waiting", "delayed", "waiting", "waiting"]
    assert [payload(c, i) for i in ids] == \
        [b'{"n" : 1.50}', b"text", b"\xff\0", b"null"]


@pytest.mark.parametrize("bad, words", [
    ("{", ["line 2", "not JSON"]),
    ("[1]", ["line 2", "object"]),
    ("{}", ["line 2", "payload"]),
    ('{"payload":1,"colour":2}', ["line 2", "colour"]),
    ('{"payload":1,"delay":"5"}', ["line 2", "delay"]),
    ('{"payload":[],"payload_encoding":"text"}', ["line 2"]),
    ('{"payload":"x","payload_encoding":"base64"}', ["line 2", "base64"]),
    ('{"payload":1,"payload":2}', ["line 2", "duplicate"]),
    ('{"payload":1,"priority":77}', ["2", "priority"]),
])
def test_a_bad_line_adds_nothing(w, q, bad, words):
    r = w.post("/v1/queues/%s/jobs:batch" % q, '{"payload":1}\n%s\n' % bad)
    assert (r.status, r.code) == (400, "BADARG"), r
    for word in words:
        assert word in r.detail
    assert w.get("/v1/queues/" + q).json["waiting"] == 0


# Workers.

def test_a_worker_ends_what_it_fetched(w, q):
    i = w.add(q, {"a": 1})
    job, = w.fetch(q, count=5, lease="10s", worker="me")
    assert (job["id"], job["payload"], job["payload_encoding"]) == \
        (i, {"a": 1}, "json")
    token = job["token"]
    assert w.post("/v1/jobs/%s/progress" % i,
                  {"token": token, "value": {"done": 1}}).status == 204
    assert w.get("/v1/jobs/" + i).json["progress"] == '{"done": 1}'
    assert w.post("/v1/jobs/%s/extend" % i,
                  {"token": token, "lease": "1m"}).status == 204
    r = w.post("/v1/jobs/%s/done" % i, '{"token":"%s","result":{"n":1.50}}'
               % token)
    assert r.status == 204 and r.body == b""
    r = w.get("/v1/jobs/" + i)
    assert b'"result":{"n":1.50}' in r.body
    assert r.json["state"] == "completed"
    r = w.post("/v1/jobs/%s/done" % i, {"token": token})
    assert (r.status, r.code) == (409, "STALE")


def test_the_query_may_say_it_too(w, q):
    i = w.add(q)
    job, = w.fetch(q)
    r = w.post("/v1/jobs/%s/fail" % i, token=job["token"], message="no ink",
               delay="1h")
    assert r.status == 200 and r.json == {"id": i, "state": "delayed"}
    assert w.get("/v1/jobs/" + i).json["errors"][0]["message"] == "no ink"
    assert w.post("/v1/jobs/%s/promote" % i).status == 204
    job, = w.fetch(q)
    r = w.post("/v1/jobs/%s/fail" % i,
               {"token": job["token"], "message": "x", "final": True})
    assert r.json["state"] == "failed"
    assert w.post("/v1/jobs/%s/retry" % i).status == 204
    job, = w.fetch(q)
    assert w.post("/v1/jobs/%s/release" % i, token=job["token"]).status == 204
    assert w.get("/v1/jobs/" + i).json["state"] == "waiting"


def test_what_a_worker_leaves_out_is_named(w, q):
    i = w.add(q)
    job, = w.fetch(q)
    for end, body, word in (("done", {}, "token"), ("fail", {
            "token": job["token"]}, "message"), ("extend", {
                "token": job["token"]}, "lease"), ("done", {
                    "token": "x", "reslut": 1}, "reslut"),
            ("done", "[1]", "object"), ("done", "{", "JSON")):
        r = w.post("/v1/jobs/%s/%s" % (i, end), body)
        assert (r.status, r.code) == (400, "BADARG")
        assert word in r.detail


def test_fetch_waits_for_a_job(bh, w, q):
    assert w.fetch(q) == []
    assert w.fetch(q, wait="50ms") == []
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/fetch?wait=1h HTTP/1.1\r\n"
                  b"Host: localhost\r\n\r\n" % q.encode())
        i = w.add(q)
        r = Reader(s).answer()
    assert [j["id"] for j in r.json] == [i]


def test_a_worker_that_goes_gets_no_job(bh, w, c, q):
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/fetch?wait=1h HTTP/1.1\r\n"
                  b"Host: localhost\r\n\r\n" % q.encode())
        wait_until(lambda: calls(c, "job.fetch"), "the worker's call")
    i = w.add(q)
    # Whoever comes next has it at once.
    job, = w.fetch(q, wait="30s")
    assert (job["id"], job["attempt"]) == (i, 1)


def test_a_job_for_a_client_that_has_hung_up_is_given_back(bh, w, q):
    ids = [w.add(q) for _ in range(20)]
    for _ in ids:
        with connect(bh) as s:
            # Request and end of the connection go in one packet.
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            s.sendall(b"POST /v1/queues/%s/fetch?lease=1h HTTP/1.1\r\n"
                      b"Host: localhost\r\n\r\n" % q.encode())
    # None of them may be read yet: no job is active then, but will be.
    got = []

    def all_are_back():
        got.extend(j["id"] for j in w.fetch(q, count=20, lease="1h"))
        return len(got) == len(ids)

    wait_until(all_are_back, "the jobs")
    assert sorted(got) == sorted(ids)


def test_wait_answers_when_the_job_is_over(bh, w, q):
    i = w.add(q)
    assert w.get("/v1/jobs/" + i, wait="50ms").json["state"] == "waiting"
    job, = w.fetch(q)
    with connect(bh) as s:
        s.sendall(b"GET /v1/jobs/%s?wait=1h HTTP/1.1\r\nHost: localhost\r\n"
                  b"\r\n" % i.encode())
        w.post("/v1/jobs/%s/done" % i, {"token": job["token"]})
        assert Reader(s).answer().json["state"] == "completed"


# Jobs and queues.

def test_a_job_is_shown_changed_and_removed(w, q):
    i = w.add(q, b"plain", delay="1h")
    r = w.get("/v1/jobs/" + i)
    assert (r.json["payload"], r.json["payload_encoding"]) == \
        ("plain", "text")
    assert w.put("/v1/jobs/%s/payload" % i, b"\xff").status == 204
    r = w.get("/v1/jobs/" + i)
    assert (r.json["payload"], r.json["payload_encoding"]) == \
        ("/w==", "base64")
    why = w.get("/v1/jobs/%s/why" % i).json
    assert why["gate"] == "delayed" and why["until"] > 0
    assert w.post("/v1/jobs/%s/cancel" % i, reason="no more").status == 204
    assert w.get("/v1/jobs/" + i).json["state"] == "failed"
    assert w.delete("/v1/jobs/" + i).status == 204
    for r in (w.get("/v1/jobs/" + i), w.delete("/v1/jobs/" + i)):
        assert (r.status, r.code) == (404, "NOTFOUND")
    assert w.get("/v1/jobs/x").code == "BADARG"


def test_a_queue_is_listed_and_changed(w, q):
    ids = [w.add(q, delay="1h") for _ in range(3)]
    r = w.get("/v1/queues/%s/jobs" % q, state="delayed", count=2)
    assert [j["id"] for j in r.json["jobs"]] == ids[:2]
    r = w.get("/v1/queues/%s/jobs" % q, state="delayed",
              cursor=r.json["cursor"])
    assert [j["id"] for j in r.json["jobs"]] == ids[2:]
    assert r.json["cursor"] == "0"
    assert w.get("/v1/queues/%s/jobs" % q).code == "BADARG"
    assert w.post("/v1/queues/%s/pause" % q).status == 204
    stats = w.get("/v1/queues/" + q).json
    assert (stats["queue"], stats["delayed"], stats["paused"]) == (q, 3, 1)
    assert stats in w.get("/v1/queues").json
    assert w.post("/v1/queues/%s/resume" % q).status == 204
    assert w.post("/v1/queues/%s/hold" % q, **{"for": "1h"},
                  reason="quota").status == 204
    assert w.get("/v1/queues/" + q).json["held_reason"] == "quota"
    assert "for" in w.post("/v1/queues/%s/hold" % q).detail
    r = w.post("/v1/queues/%s/purge" % q, state="delayed")
    assert r.json == {"count": 3}


def test_failed_jobs_are_grouped_and_retried(w, q):
    for n in (1, 2):
        w.add(q)
        job, = w.fetch(q)
        w.post("/v1/jobs/%s/fail" % job["id"], token=job["token"],
               message="room %d is taken" % n, final="true")
    group, = w.get("/v1/queues/%s/errors" % q).json
    assert group["count"] == 2
    r = w.post("/v1/queues/%s/retry" % q, error=group["fingerprint"])
    assert r.json == {"count": 2}
    assert w.get("/v1/queues/" + q).json["waiting"] == 2


# Cache, limits.

def test_the_cache_keeps_bytes(w, c):
    key = "/v1/cache/page%2Fone"
    assert w.get(key).code == "NOTFOUND"
    assert w.put(key, b"\xff\0", ttl="1h").status == 204
    r = w.get(key)
    assert r.status == 200 and r.body == b"\xff\0"
    assert 0 < c.call("PTTL", "cache:page/one") <= 3600000
    assert w.put(key, b"").status == 204
    assert w.get(key).body == b""
    assert w.delete(key).status == 204
    assert w.get(key).status == 404


def test_a_limit_is_said_in_headers(w, q):
    path = "/v1/limits/" + q
    r = w.post(path, rate=2, per="1h")
    assert r.status == 200 and r.json["allowed"] is True
    assert r.headers["ratelimit-limit"] == "2"
    assert r.headers["ratelimit-remaining"] == "1"
    assert w.post(path, rate=2, per="1h").status == 200
    r = w.post(path, rate=2, per="1h")
    assert r.status == 429 and r.json["allowed"] is False
    assert 1 <= int(r.headers["retry-after"]) <= 1800
    assert int(r.headers["ratelimit-reset"]) >= 1
    assert w.post(path, rate=2).code == "BADARG"


# Pages.

def test_the_first_page_and_the_version(w):
    r = w.get("/")
    assert r.status == 200 and b"Bellhop" in r.body
    version = w.get("/version").json["version"]
    assert version.encode() in r.body
    assert w.get("/healthz").body == b"ok\n"


def test_unknown_paths_and_methods(w):
    r = w.get("/v2/queues")
    assert (r.status, r.code) == (404, "NOTFOUND")
    r = w.put("/v1/queues")
    assert r.status == 405 and r.headers["allow"] == "GET, HEAD, OPTIONS"
    r = w.ask("BREW", "/v1/jobs/1")
    assert r.status == 405
    assert r.headers["allow"] == "GET, HEAD, DELETE, OPTIONS"
    r = w.ask("OPTIONS", "/v1/queues")
    assert r.status == 204 and r.headers["allow"] == "GET, HEAD, OPTIONS"
    assert w.get("/v1/queues/a/b/c").status == 404
    assert w.get("/v1/jobs/").status == 404
    assert w.get("/v1/jobs/%zz").status == 404


def test_head_is_get_without_a_body(bh, w):
    full = w.get("/version")
    with connect(bh) as s:
        s.sendall(b"HEAD /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
                  b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader = Reader(s)
        r = reader.answer(has_body=False)
        assert r.status == 200
        assert r.headers["content-length"] == full.headers["content-length"]
        assert reader.answer().body == full.body


# Access.

def test_a_token_says_who_asks(bh, q):
    reader = bh.ctl_ok("token", "add", q + "r", "--role", "reader").split()[-1]
    adder = bh.ctl_ok("token", "add", q + "p", "--role", "producer",
                      "--queue", q).split()[-1]
    with Web(bh, reader) as w:
        assert w.get("/v1/queues/" + q).status == 200
        r = w.post("/v1/queues/%s/jobs" % q, b"x")
        assert (r.status, r.code) == (403, "NOPERM")
        # Who asks is said anew by each request.
        r = w.ask("POST", "/v1/queues/%s/jobs" % q, b"x",
                  {"Authorization": "Bearer " + adder})
        assert r.status == 202
        r = w.ask("POST", "/v1/queues/other/jobs", b"x",
                  {"Authorization": "bearer  " + adder})
        assert (r.status, r.code) == (403, "NOPERM")
        for wrong in ("Bearer nonsense", "Basic YTpi", "Bearer", ""):
            r = w.ask("GET", "/v1/queues/" + q, None,
                      {"Authorization": wrong})
            assert (r.status, r.code) == (401, "WRONGPASS")
            assert r.headers["www-authenticate"].startswith("Bearer")
        assert w.get("/v1/queues/" + q).status == 200


def test_without_a_role_a_token_is_needed(make):
    d = make({"loopback_role": "none"}, http=True)
    with Web(d) as w:
        r = w.get("/v1/queues")
        assert (r.status, r.code) == (401, "NOAUTH")
        assert w.get("/healthz").status == 200
        with open_events(d) as s:
            assert Reader(s).answer().code == "NOAUTH"


def open_events(d):
    s = connect(d)
    s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return s


@pytest.mark.parametrize("host, ok", [
    ("localhost", True), ("localhost:7381", True), ("127.0.0.1:80", True),
    ("[::1]:7381", True), ("a.localhost", True), ("LOCALHOST.", True),
    ("bell.example.org", True), ("BELL.example.org:443", True),
    ("evil.example.com", False), ("127.0.0.1.evil.com", False),
    ("192.168.1.5", False), ("localhost.evil.com", False),
    ("localhost:7381@evil.com", False), ("", False), ("[::1", False),
    ("localhost:99999999", False)])
def test_only_known_names_may_be_asked_for(w, host, ok):
    r = w.ask("GET", "/v1/queues", None, {"Host": host})
    assert (r.status == 200) == ok, r
    if not ok:
        assert r.status == 400 or r.code == "NOPERM"
    # Whoever calls a webhook may know us by any name.
    r = w.ask("POST", "/hooks/none", b"x", {"Host": host})
    assert r.status == 404 or host in ("", "[::1")


def test_pages_of_other_sites_may_not_ask(w, bh, q):
    own = "127.0.0.1:%d" % bh.http_port
    path = "/v1/queues/%s/jobs" % q
    for origin in ("https://evil.example.com", "null",
                   "http://127.0.0.1:1", "http://localhost:%d" % bh.http_port,
                   "https://bell.example.org", "http://" + own + ".evil.com"):
        r = w.ask("POST", path, b"x", {"Origin": origin, "Host": own})
        assert (r.status, r.code) == (403, "NOPERM")
        assert "access-control-allow-origin" not in r.headers
    assert w.get("/v1/queues/" + q).json["waiting"] == 0
    for origin, host in (("http://" + own, own),
                         ("https://bell.example.org", "bell.example.org"),
                         ("https://bell.example.org:443",
                          "bell.example.org")):
        r = w.ask("POST", path, b"x", {"Origin": origin, "Host": host})
        assert r.status == 202
        assert "access-control-allow-origin" not in r.headers


def test_a_listed_site_may_ask(w, q):
    site = {"Origin": "https://desk.example.org"}
    r = w.ask("OPTIONS", "/v1/queues/%s/jobs" % q, None, dict(site, **{
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization"}))
    assert r.status == 204
    assert r.headers["access-control-allow-origin"] == site["Origin"]
    assert "POST" in r.headers["access-control-allow-methods"]
    assert "Authorization" in r.headers["access-control-allow-headers"]
    r = w.ask("POST", "/v1/queues/%s/jobs" % q, b"x", site)
    assert r.status == 202
    assert r.headers["access-control-allow-origin"] == site["Origin"]
    r = w.ask("GET", "/v1/jobs/x", None, site)
    assert r.headers["access-control-allow-origin"] == site["Origin"]


def test_a_unix_socket_is_the_admin(make):
    d = make(http=True, start=False)
    path = d.root + "/h.sock"
    text = d.config_text().replace('"127.0.0.1:%d" ]; };' % d.http_port,
                                   '"unix:%s" ]; };' % path)
    assert path in text
    d.config_text = lambda: text
    d.write_config()
    d.start()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"GET /v1/queues HTTP/1.1\r\nHost: any.name\r\n\r\n")
        assert Reader(s).answer().status == 200


# Stopping.

def test_what_was_received_is_answered_before_the_end(make):
    d = make(http=True)
    with connect(d) as idle, connect(d) as waiting, connect(d) as pipe, \
            Web(d) as w:
        w.add("q")
        idle.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        Reader(idle).answer()
        waiting.sendall(b"POST /v1/queues/none/fetch?wait=1h HTTP/1.1\r\n"
                        b"Host: localhost\r\n\r\n")
        pipe.sendall(b"POST /v1/queues/p/jobs HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: 1\r\n\r\nx" * 500)
        reader = Reader(pipe)
        assert reader.answer().status == 202
        d.signal(15)
        ids = {reader.answer().json["id"] for _ in range(499)}
        assert len(ids) == 499
        r = Reader(waiting).answer()
        assert (r.status, r.code) == (503, "BUSY")
        assert idle.recv(10) == b""
        assert pipe.recv(10) == b""
        assert d.wait_exit() == 0
    d.start()
    with d.client() as c:
        assert c.stats("p")["waiting"] == 500


@pytest.mark.embedded("it locks bellhop.db")
def test_a_call_that_outlives_its_connection_ends(make):
    d = make({"shutdown_grace": "0s"}, http=True)
    disk = sqlite3.connect(d.db, timeout=60, isolation_level=None)
    with connect(d) as add, connect(d) as fetch, d.client() as c:
        c.add("there", "1")
        disk.execute("BEGIN IMMEDIATE")
        for s, path in ((add, b"a-queue/jobs"), (fetch, b"there/fetch")):
            s.sendall(b"POST /v1/queues/%s HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Length: 2\r\n\r\n{}" % path)
        wait_until(lambda: calls(c, "job.add") and calls(c, "job.fetch"))
        d.signal(15)
        # The daemon waits for the disk as long as it may.
        assert read_all(add) == b"" and read_all(fetch) == b""
        disk.rollback()
        disk.close()
        assert d.wait_exit() == 0
    d.check_stderr()


def test_an_answer_says_that_the_connection_ends(make):
    d = make(http=True)
    with connect(d) as s:
        s.sendall(b"POST /v1/queues/none/fetch?wait=1h HTTP/1.1\r\n"
                  b"Host: localhost\r\n\r\n")
        with d.client() as c:
            wait_until(lambda: calls(c, "job.fetch"), "the worker's call")
        began = time.monotonic()
        d.signal(15)
        r = Reader(s).answer()
        assert r.headers["connection"].lower() == "close"
        assert d.wait_exit() == 0
        assert time.monotonic() - began < 20


def test_figures_in_the_format_of_prometheus(bh, w):
    r = w.get("/metrics")
    assert r.status == 200
    assert r.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"bellhop_http_connections " in r.body
    packed = w.ask("GET", "/metrics", None, {"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert b"# TYPE bellhop_http_responses_total counter" in \
        gzip.decompress(packed.body)
    assert w.get("/readyz").status == 200


def test_a_schedule_is_set_shown_and_removed(w, q):
    path = "/v1/schedules/" + q
    assert w.put(path, {"queue": q, "payload": {"kind": "night"},
                        "cron": "0 6 * * *", "tz": "Europe/Lisbon",
                        "priority": 2}).status == 204
    row = w.get(path).json
    assert (row["name"], row["queue"], row["payload"], row["cron"]) == \
        (q, q, {"kind": "night"}, "0 6 * * *")
    assert row in w.get("/v1/schedules").json
    r = w.put(path, {"queue": q, "every": "5"})
    assert r.code == "BADARG" and "every" in r.detail
    assert w.put(path, {"every": "5s"}).code == "BADARG"
    assert w.delete(path).status == 204
    assert w.get(path).code == "NOTFOUND"
