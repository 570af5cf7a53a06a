# SPDX-License-Identifier: MIT
"""Who may do what over HTTP, what a request that is none is answered, and the
paths for those who watch."""
import json
import re
import socket
import threading

import pytest

import exposition
from web import Events, Socket, Web, read_all

HTTP = True
OPTIONS = {"loopback_role": "none", "http_hosts": ["inn.example"],
           "http_origins": ["https://desk.example"]}
ROLES = ("reader", "producer", "worker", "operator", "admin")


@pytest.fixture(scope="module")
def tokens(shared):
    """Role → token; tokens["limited"] is an operator of the queues mine.*"""
    out = {}
    with shared.client() as c:
        for role in ROLES:
            out[role] = c.call("BELLHOP", "TOKEN", "ADD", "t-" + role, role)
        for role in ("operator", "reader"):
            out["mine-" + role] = c.call("BELLHOP", "TOKEN", "ADD",
                                         "m-" + role, role, "mine.*")
    return out


@pytest.fixture
def web(bh, tokens):
    """web(role) is a client with that role; web(None) has no token."""
    made = []

    def maker(role):
        w = Web(bh, tokens[role] if role else None)
        made.append(w)
        return w

    yield maker
    for w in made:
        w.close()


def problem(r):
    """A problem as RFC 9457 has it; its code."""
    assert r.headers["content-type"] == "application/problem+json", r
    p = r.json
    assert p["type"] and p["title"] and p["detail"], p
    assert p["status"] == r.status
    return p["code"]


# Each path, and the roles that may use it.
READ = ("reader", "producer", "worker", "operator", "admin")
ADD = ("producer", "operator", "admin")
WORK = ("worker", "operator", "admin")
CHANGE = ("operator", "admin")
ROUTES = [
    ("GET", "/v1/queues", READ), ("GET", "/v1/queues/{q}", READ),
    ("GET", "/v1/queues/{q}/jobs?state=waiting", READ),
    ("GET", "/v1/queues/{q}/errors", READ),
    ("GET", "/v1/jobs/{id}", READ), ("GET", "/v1/jobs/{id}/why", READ),
    ("GET", "/v1/schedules", READ), ("GET", "/v1/schedules/none", READ),
    ("POST", "/v1/queues/{q}/jobs", ADD),
    ("POST", "/v1/queues/{q}/jobs:batch", ADD),
    ("POST", "/v1/topics/{q}", ADD),
    ("PUT", "/v1/cache/{q}", ADD), ("DELETE", "/v1/cache/{q}", ADD),
    ("POST", "/v1/limits/{q}?rate=1000&per=1s", ADD),
    ("POST", "/v1/queues/{q}none/fetch", WORK),
    ("POST", "/v1/jobs/{id}/done?token=0", WORK),
    ("POST", "/v1/jobs/{id}/fail?token=0&message=m", WORK),
    ("POST", "/v1/jobs/{id}/release?token=0", WORK),
    ("POST", "/v1/jobs/{id}/extend?token=0&lease=5s", WORK),
    ("POST", "/v1/jobs/{id}/progress?token=0&value=1", WORK),
    ("POST", "/v1/queues/{q}/pause", CHANGE),
    ("POST", "/v1/queues/{q}/resume", CHANGE),
    ("POST", "/v1/queues/{q}/hold?for=1ms", CHANGE),
    ("POST", "/v1/queues/{q}/retry", CHANGE),
    ("POST", "/v1/queues/{q}/purge?state=failed", CHANGE),
    ("POST", "/v1/jobs/{id}/retry", CHANGE),
    ("POST", "/v1/jobs/{id}/promote", CHANGE),
    ("POST", "/v1/jobs/9999999999/cancel", CHANGE),
    ("DELETE", "/v1/jobs/9999999999", CHANGE),
    ("PUT", "/v1/jobs/{id}/payload", CHANGE),
    ("PUT", "/v1/schedules/{q}", CHANGE),
    ("DELETE", "/v1/schedules/{q}", CHANGE),
]
BODIES = {"token=": "{}", "jobs:batch": '{"payload":1}', "/v1/schedules/":
          '{"queue":"zz","payload":1,"every":"1d"}'}


@pytest.mark.parametrize("method, path, allowed", ROUTES,
                         ids=lambda x: x if isinstance(x, str) else "")
def test_roles(web, c, q, method, path, allowed):
    id = c.add(q, "x")
    path = path.format(q=q, id=id)
    body = "x"
    for part, text in BODIES.items():
        if part in path:
            body = text
    if method == "GET":
        body = None
    r = web(None).ask(method, path, body)
    assert r.status == 401 and problem(r) == "NOAUTH", r
    assert r.headers["www-authenticate"].startswith("Bearer"), r
    for role in ROLES:
        r = web(role).ask(method, path, body)
        if role in allowed:
            assert r.status not in (401, 403, 405), (role, r)
        else:
            assert r.status == 403 and problem(r) == "NOPERM", (role, r)


def test_tokens_that_are_none(bh, tokens):
    for value in ("Bearer x", "Bearer ", "Bearer " + tokens["admin"] + "0",
                  "Basic dTpw", "Bearer", tokens["admin"],
                  "Bearer " + "y" * 3000):
        with Web(bh) as w:
            r = w.ask("GET", "/v1/queues", None, {"Authorization": value})
            assert r.status == 401, (value, r)
            assert problem(r) in ("WRONGPASS", "NOAUTH")


def test_a_token_over_both_doors_and_its_end(bh, c):
    token = c.call("BELLHOP", "TOKEN", "ADD", "gone", "reader")
    with Web(bh, token) as w:
        assert w.get("/v1/queues").status == 200
        with bh.client(tcp=True, proto=2) as r:
            assert r.call("AUTH", token) == "OK"
        c.call("BELLHOP", "TOKEN", "DEL", "gone")
    # Its connections are closed; whoever comes with it again is a stranger.
    with Web(bh, token) as w:
        assert w.get("/v1/queues").status == 401


def test_a_token_for_some_queues(web, c):
    mine, other = c.add("mine.1", "x"), c.add("others", "x")
    w = web("mine-operator")
    assert [s["queue"] for s in w.get("/v1/queues").json] == ["mine.1"]
    assert w.get("/v1/jobs/" + mine).status == 200
    for method, tail in [("GET", ""), ("DELETE", ""), ("GET", "/why"),
                         ("POST", "/retry"), ("PUT", "/payload"),
                         ("POST", "/cancel"), ("POST", "/done?token=1")]:
        r = w.ask(method, "/v1/jobs/" + other + tail)
        assert r.status == 403 and problem(r) == "NOPERM", (tail, r)
    for method, tail in [("GET", ""), ("GET", "/jobs?state=waiting"),
                         ("GET", "/errors"), ("POST", "/jobs"),
                         ("POST", "/fetch"), ("POST", "/pause"),
                         ("POST", "/purge?state=waiting"),
                         ("POST", "/jobs:batch")]:
        body = '{"payload":1}' if method == "POST" else None
        r = w.ask(method, "/v1/queues/others" + tail, body)
        assert r.status == 403 and problem(r) == "NOPERM", (tail, r)
        r = w.ask(method, "/v1/queues/mine.1" + tail, body)
        assert r.status in (200, 202, 204), (tail, r)
    assert c.get(other)["state"] == "waiting"
    # Schedules of other queues are unseen, too.
    body = {"queue": "others", "payload": 1, "every": "1d"}
    r = w.put("/v1/schedules/a", body)
    assert r.status == 403 and problem(r) == "NOPERM", r
    assert web("operator").put("/v1/schedules/a", body).status == 204
    assert w.get("/v1/schedules").json == []
    assert w.get("/v1/schedules/a").status == 404
    assert w.delete("/v1/schedules/a").status in (403, 404)
    assert web("operator").delete("/v1/schedules/a").status == 204
    c.call("QUEUE.RESUME", "mine.1")


def test_events_of_some_queues(bh, tokens, c):
    h = {"Authorization": "Bearer " + tokens["mine-reader"]}
    with Events(bh, "/v1/events", h) as s, Socket(bh, "/v1/events", h) as ws:
        # Added until it is heard: the others of each round come first.
        stop = threading.Event()

        def add():
            with bh.client() as mine:
                while not stop.wait(0.01):
                    mine.add("others", "x")
                    mine.add("mine.2", "x")

        t = threading.Thread(target=add)
        t.start()
        try:
            for _ in range(3):
                assert s.event()[1]["queue"] == "mine.2"
                assert ws.event()["queue"] == "mine.2"
        finally:
            stop.set()
            t.join()


def test_streams_want_a_token(bh):
    for path in ("/v1/events", "/v1/topics/a"):
        with Events(bh, path) as s:
            assert s.status == 401
        with Socket(bh, path) as s:
            assert s.status == 401


# Host and Origin.

def raw(bh, head):
    with socket.create_connection(("127.0.0.1", bh.http_port), 45) as s:
        s.sendall(head.encode("latin-1"))
        answer = read_all(s).decode("latin-1")
    status = int(answer.split(" ")[1])
    fields, _, body = answer.partition("\r\n\r\n")
    headers = {k.lower(): v.strip() for k, _, v in
               (x.partition(":") for x in fields.split("\r\n")[1:])}
    return status, headers, body


@pytest.mark.parametrize("host, ok", [
    ("localhost", True), ("127.0.0.1", True), ("127.0.0.1:{port}", True),
    ("LOCALHOST:{port}", True), ("inn.example", True),
    ("inn.example:8443", True), ("INN.example", True),
    ("evil.example", False), ("inn.example.evil.org", False),
    ("x.inn.example", False), ("localhost.evil.org", False),
    ("10.0.0.9", False)])
def test_hosts(bh, tokens, host, ok):
    head = "%%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n" \
        "Authorization: Bearer %s\r\n\r\n" % (
            host.format(port=bh.http_port), tokens["reader"])
    status, _, body = raw(bh, head % "GET /v1/queues")
    if ok:
        assert status == 200, body
        return
    assert status in (400, 403, 421), body
    assert json.loads(body)["status"] == status
    # A webhook may come by any name; there is none here.
    status, _, body = raw(bh, head % "POST /hooks/nothing")
    assert status == 404, body


@pytest.mark.parametrize("origin, ok", [
    ("https://desk.example", True), ("http://localhost:{port}", True),
    ("http://127.0.0.1:{port}", True), ("http://desk.example", False),
    ("https://desk.example:8443", False), ("https://evil.example", False),
    ("null", False), ("http://localhost:1", False),
    ("https://desk.example.evil.org", False)])
def test_origins(bh, tokens, c, q, origin, ok):
    origin = origin.format(port=bh.http_port)
    # The page is asked for by the same name as it comes from.
    host = re.sub("^https?://", "", origin) if ok and "desk" not in origin \
        else "127.0.0.1:%d" % bh.http_port
    head = "POST /v1/queues/%s/jobs HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n" \
        "Connection: close\r\nContent-Length: 1\r\n" \
        "Authorization: Bearer %s\r\n\r\nx" % (q, host, origin,
                                               tokens["producer"])
    status, headers, body = raw(bh, head)
    assert c.stats(q)["waiting"] == (1 if ok else 0)
    if not ok:
        assert status == 403 and json.loads(body)["status"] == 403, body
        assert "access-control-allow-origin" not in headers
    else:
        assert status == 202, body
        if "desk" in origin:
            assert headers["access-control-allow-origin"] == origin
            assert "origin" in headers["vary"].lower()
    # A page's WebSocket is held to the same.
    with Socket(bh, "/v1/events", {
            "Origin": origin, "Authorization": "Bearer " +
            tokens["reader"]}) as s:
        if "localhost" not in origin and "127" not in origin:
            assert s.status == (101 if ok else 403)


def test_preflight(bh, tokens):
    head = "OPTIONS /v1/queues HTTP/1.1\r\nHost: localhost\r\n" \
        "Origin: %s\r\nAccess-Control-Request-Method: POST\r\n" \
        "Access-Control-Request-Headers: authorization\r\n" \
        "Connection: close\r\n\r\n"
    status, headers, _ = raw(bh, head % "https://desk.example")
    assert status in (200, 204)
    assert headers["access-control-allow-origin"] == "https://desk.example"
    assert "GET" in headers["access-control-allow-methods"]
    assert "authorization" in headers["access-control-allow-headers"].lower()
    status, headers, _ = raw(bh, head % "https://evil.example")
    assert status == 403
    assert "access-control-allow-origin" not in headers


# Paths and methods.

@pytest.mark.parametrize("path", [
    "/nothing", "/v1", "/v1/", "/v2/queues", "/v1/queues/a/b", "/v1/jobs",
    "/v1/jobs/1/nothing", "/v1/queues/a/jobs/1", "//v1/queues",
    "/v1/queues/a/jobs:other", "/hooks/none", "/metrics/x", "/v1/../healthz"])
def test_unknown_paths_are_404(web, path):
    w = web("admin")
    for method in ("GET", "POST"):
        r = w.ask(method, path)
        assert r.status == 404 and problem(r) == "NOTFOUND", (method, r)


METHODS = {
    "/v1/queues": "GET", "/v1/queues/a": "GET",
    "/v1/queues/a/jobs": "GET POST", "/v1/queues/a/jobs:batch": "POST",
    "/v1/queues/a/fetch": "POST", "/v1/queues/a/errors": "GET",
    "/v1/queues/a/pause": "POST", "/v1/queues/a/resume": "POST",
    "/v1/queues/a/hold": "POST", "/v1/queues/a/retry": "POST",
    "/v1/queues/a/purge": "POST", "/v1/jobs/1": "GET DELETE",
    "/v1/jobs/1/payload": "PUT", "/v1/jobs/1/done": "POST",
    "/v1/jobs/1/fail": "POST", "/v1/jobs/1/release": "POST",
    "/v1/jobs/1/extend": "POST", "/v1/jobs/1/progress": "POST",
    "/v1/jobs/1/retry": "POST", "/v1/jobs/1/promote": "POST",
    "/v1/jobs/1/cancel": "POST", "/v1/jobs/1/why": "GET",
    "/v1/schedules": "GET", "/v1/schedules/a": "GET PUT DELETE",
    "/v1/topics/a": "GET POST", "/v1/events": "GET",
    "/v1/cache/a": "GET PUT DELETE", "/v1/limits/a": "POST",
    "/metrics": "GET", "/healthz": "GET", "/readyz": "GET",
    "/version": "GET", "/": "GET"}


@pytest.mark.parametrize("path", sorted(METHODS))
def test_other_methods_are_405(web, path):
    known = set(METHODS[path].split())
    w = web("admin")
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - known:
        r = w.ask(method, path, b"x" if method != "GET" else None)
        assert r.status == 405 and problem(r) == "ERR", (method, r)
        allow = {x.strip() for x in r.headers["allow"].split(",")}
        assert known <= allow, r
        assert allow <= known | {"HEAD", "OPTIONS"}, r
        assert ("HEAD" in allow) == ("GET" in known), r


def test_head(web, c, q):
    id = c.add(q, "x")
    w = web("reader")
    for path in ("/v1/queues", "/v1/queues/" + q, "/v1/jobs/" + id,
                 "/v1/jobs/%s/why" % id, "/version", "/healthz", "/readyz",
                 "/v1/jobs/99999999", "/nothing"):
        get, head = w.get(path), w.ask("HEAD", path)
        assert head.status == get.status and head.body == b"", path
        assert head.headers["content-type"] == get.headers["content-type"]
        assert int(head.headers["content-length"]) > 0
    assert w.ask("HEAD", "/v1/limits/a").status == 405


def test_every_answer_has_a_date(web):
    r = web("reader").get("/v1/queues")
    assert re.match(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\Z",
                    r.headers["date"])


# For those who watch.

def test_health_needs_no_token(web):
    assert web(None).get("/healthz").status == 200
    assert web(None).get("/readyz").status == 401
    r = web("reader").get("/readyz")
    assert r.status == 200
    assert r.json["ready"] is True and r.json["live"] is True
    for check in r.json["checks"]:
        assert type(check["name"]) is str and check["ok"] is True


def test_bodies_of_strangers_are_not_read(bh):
    head = "POST /v1/queues/a/jobs:batch HTTP/1.1\r\nHost: localhost\r\n" \
        "Content-Length: 60000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bh.http_port), 45) as s:
        s.sendall(head.encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 401")


def test_version(bh, web):
    r = web("reader").get("/version")
    assert r.status == 200
    assert r.json["version"] in bh.ctl_ok("version")


def test_the_first_page(web):
    r = web("reader").get("/")
    assert r.status == 200
    assert r.headers["content-type"].startswith("text/html")
    assert b"<html" in r.body.lower() or b"<!doctype html" in r.body.lower()


def test_metrics(web, c, q):
    c.add(q, "x")
    c.done(c.fetch1(q))
    c.add(q, "x")
    w = web("reader")
    r = w.get("/metrics")
    assert r.status == 200
    assert r.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = exposition.parse(r.body.decode())
    text = r.body.decode()
    assert 'bellhop_jobs{queue="%s",state="waiting"} 1' % q in text or \
        'bellhop_jobs{state="waiting",queue="%s"} 1' % q in text
    for name, kind in [("bellhop_jobs", "gauge"),
                       ("bellhop_jobs_processed_total", "counter"),
                       ("bellhop_jobs_added_total", "counter"),
                       ("bellhop_job_run_seconds", "histogram"),
                       ("bellhop_commits_total", "counter"),
                       ("bellhop_connections", "gauge"),
                       ("bellhop_script_threads", "gauge")]:
        assert families[name].type == kind, name
    assert re.search(r'^bellhop_connections\{door="http"\} [1-9]', text, re.M)


def test_metrics_of_some_queues(web, c):
    c.add("mine.3", "x")
    c.add("secret-queue", "x")
    r = web("mine-reader").get("/metrics")
    assert r.status == 200
    assert b"mine.3" in r.body and b"secret-queue" not in r.body
