# SPDX-License-Identifier: MIT
"""The HTTP door at the daemon's limits and at its end, and with the clients
that people have: curl and node's fetch."""
import json
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from daemon import PATIENCE, wait_until
from web import Events, Reader, Socket, Web, connect, read_all

HTTP = True
OPTIONS = {"max_payload": "4KiB", "max_result": "1KiB"}


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


# Limits.

def test_a_payload_to_the_byte(w, q):
    path = "/v1/queues/%s/jobs" % q
    assert w.post(path, b"x" * 4096).status == 202
    r = w.post(path, b"x" * 4097)
    assert r.status == 413 and r.code == "TOOBIG", r
    assert "max_payload" in r.detail
    assert w.get("/v1/queues/" + q).json["waiting"] == 1


def test_a_result_to_the_byte(w, c, q):
    a, b = w.add(q), w.add(q)
    ja, jb = w.fetch(q, count=2)
    r = w.post("/v1/jobs/%s/done" % a, {"token": ja["token"],
                                        "result": "x" * 1023})
    assert r.status == 413 and r.code == "TOOBIG", r
    assert "max_result" in r.detail
    assert c.state(a) == "active"
    # 1024 bytes with its quotes.
    r = w.post("/v1/jobs/%s/done" % b, {"token": jb["token"],
                                        "result": "x" * 1022})
    assert r.status == 204, r


def test_a_body_without_end_is_cut_off(bh):
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/big/jobs HTTP/1.1\r\nHost: localhost\r\n"
                  b"Content-Length: 99999999999\r\n\r\n")
        status, headers = Reader(s).head()
    assert status == 413


def test_more_connections_than_allowed(make):
    d = make({"max_connections": 4}, http=True)
    made = [connect(d) for _ in range(8)]
    try:
        for s in made:
            try:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            except OSError:
                pass
        # Each is answered or closed, none is left hanging.
        answers = []
        for s in made:
            try:
                answers.append(s.recv(4096)[:12])
            except ConnectionError:
                answers.append(b"")
        served = answers.count(b"HTTP/1.1 200")
        assert 1 <= served <= 4, answers
        assert all(a in (b"", b"HTTP/1.1 200", b"HTTP/1.1 503")
                   for a in answers)
    finally:
        for s in made:
            s.close()
    wait_until(lambda: takes(d), "room for connections")


def takes(d):
    try:
        with Web(d) as w:
            return w.get("/healthz").status == 200
    except (OSError, ConnectionError):
        return False
    except Exception as e:          # http.client's own: no whole answer
        assert "HTTP" in type(e).__module__.upper(), e
        return False


@pytest.mark.embedded("max_disk, volatile keys")
def test_diskfull(make):
    d = make({"max_disk": "8MiB"}, http=True)
    with Web(d) as w:
        ids, r = [], None
        for _ in range(400):
            r = w.post("/v1/queues/q/jobs", b"y" * 100000)
            if r.status != 202:
                break
            ids.append(r.json["id"])
        assert r.status == 507 and r.code == "DISKFULL", r
        assert "max_disk" in r.detail and len(ids) > 5
        r = w.post("/v1/queues/q/jobs:batch", '{"payload":1}\n' * 20000)
        assert r.status == 507 and r.code == "DISKFULL", r
        # What is there can be ended and removed, then there is room.
        j, = w.fetch("q")
        assert w.post("/v1/jobs/%s/done" % j["id"],
                      {"token": j["token"], "result": 1}).status == 204
        assert w.post("/v1/queues/q/purge",
                      state="waiting").json["count"] == len(ids) - 1
        wait_until(lambda: w.post("/v1/queues/q/jobs", b"x").status == 202,
                   "room")


# The end.

def test_the_end_answers_what_it_has(make):
    d = make(http=True)
    with d.client() as c:
        id = c.add("other", "x")
    fetches = [connect(d) for _ in range(3)]
    for s in fetches:
        s.sendall(b"POST /v1/queues/empty/fetch?wait=10m HTTP/1.1\r\n"
                  b"Host: localhost\r\nContent-Length: 0\r\n\r\n")
    waiter = connect(d)
    waiter.sendall(b"GET /v1/jobs/%s?wait=10m HTTP/1.1\r\n"
                   b"Host: localhost\r\n\r\n" % id.encode())
    events = Events(d, "/v1/events")
    topic = Events(d, "/v1/topics/*")
    ws = Socket(d, "/v1/events")
    idle = connect(d)
    idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert Reader(idle).answer().status == 200
    busy = connect(d)
    busy.sendall(b"".join(
        b"POST /v1/queues/q/jobs HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 1\r\n\r\nx" for _ in range(50)))
    first = Reader(busy)
    assert first.answer().status == 202
    d.signal(signal.SIGTERM)
    got = 1
    try:
        while True:
            r = first.answer()
            assert r.status in (202, 503), r
            if r.status == 503:
                assert r.code == "BUSY"
            got += r.status == 202
    except (EOFError, ConnectionError):
        pass
    # They were all received before the signal.
    assert got == 50
    for s in fetches + [waiter]:
        r = Reader(s).answer()
        assert r.status == 503 and r.code == "BUSY", r
        assert int(r.headers["retry-after"]) >= 0
        assert read_all(s) == b""
    while events.event():
        pass
    assert topic.event() is None
    opcode, data = ws.frame()
    while opcode == 1:
        opcode, data = ws.frame()
    assert (opcode, data[:2]) == (8, b"\x03\xe9")
    assert read_all(idle) == b""
    for s in fetches + [waiter, idle, busy, events.s, topic.s, ws.s]:
        s.close()
    assert d.wait_exit() == 0
    d.start()
    with Web(d) as w:
        assert w.get("/v1/queues/q").json["waiting"] == 50
        assert w.get("/v1/queues/empty").json["active"] == 0


@pytest.mark.parametrize("durability", ["commit", "relaxed"])
def test_every_202_survives_kill_9(make, durability):
    d = make({"durability": durability}, http=True)
    kept, lock = [], threading.Lock()

    def post(n):
        i = 0
        try:
            with Web(d) as w:
                while True:
                    i += 1
                    if i % 10:
                        r = w.post("/v1/queues/q%d/jobs" % n, b"%d" % i)
                        ids = [r.json["id"]]
                    else:
                        r = w.post("/v1/queues/q%d/jobs:batch" % n,
                                   b'{"payload":%d}\n' % i * 5)
                        ids = r.json["ids"]
                    assert r.status == 202, r
                    with lock:
                        kept.extend((id, n, i) for id in ids)
        except OSError:
            pass
        except Exception as e:
            if "http.client" not in type(e).__module__ and \
                    not isinstance(e, ValueError):
                raise

    threads = [threading.Thread(target=post, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    wait_until(lambda: len(kept) > 600, "work")
    d.kill9()
    for t in threads:
        t.join()
    d.start()
    assert len({k[0] for k in kept}) == len(kept)
    with d.client() as c:
        for (id, n, i), job in zip(kept, c.pipe(
                [["JOB.GET", k[0]] for k in kept])):
            assert job and (job["queue"], job["payload"]) == (
                "q%d" % n, str(i)), (id, job)


@pytest.mark.embedded("max_disk, volatile keys")
def test_a_204_survives_kill_9(make):
    d = make(http=True)
    with Web(d) as w:
        a, b = w.add("q"), w.add("q")
        j, = w.fetch("q")
        assert w.post("/v1/jobs/%s/done" % a, {
            "token": j["token"], "result": {"n": 1}}).status == 204
        assert w.put("/v1/jobs/%s/payload" % b, b"new").status == 204
        assert w.post("/v1/queues/q/pause").status == 204
        assert w.put("/v1/schedules/s", {
            "queue": "z", "payload": 1, "every": "1d"}).status == 204
        assert w.put("/v1/cache/k", b"v").status == 204
    d.kill9()
    d.start()
    with Web(d) as w:
        assert w.get("/v1/jobs/" + a).json["result"] == {"n": 1}
        assert w.get("/v1/jobs/" + b).json["payload"] == "new"
        assert w.get("/v1/queues/q").json["paused"]
        assert w.get("/v1/schedules/s").status == 200
        # The cache is forgotten.
        assert w.get("/v1/cache/k").status == 404


# Clients.

def curl(*args, stdin=None):
    p = subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), *args],
                       input=stdin, capture_output=True, check=False)
    assert p.returncode == 0, p.stderr
    return p.stdout.decode()


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_curl(bh, c, q):
    base = "http://localhost:%d" % bh.http_port
    jobs = "%s/v1/queues/%s/jobs" % (base, q)
    r = json.loads(curl(jobs, "-d", '{"to":"ana"}'))
    assert r == {"id": r["id"], "queue": q, "state": "waiting"}
    r2 = json.loads(curl(jobs + "?delay=5m&unique=ana&group=g7", "-d", "x"))
    assert r2["state"] == "delayed"
    r3 = json.loads(curl(jobs + ":batch", "--data-binary", "@-",
                         stdin=b'{"payload":{"n":1}}\n'
                         b'{"payload":{"n":2},"delay":"1h"}\n'))
    assert len(r3["ids"]) == 2
    # Chunked, and with Expect.
    r4 = json.loads(curl(jobs, "-T", "-", "-X", "POST", stdin=b"from a pipe"))
    assert c.get(r4["id"])["payload"] == "from a pipe"
    r5 = json.loads(curl(jobs, "-H", "Expect: 100-continue", "--data-binary",
                         "@-", stdin=b"x" * 4096))
    assert c.get(r5["id"])["payload"] == "x" * 4096
    j = json.loads(curl("-X", "POST", "%s/v1/queues/%s/fetch?wait=30s" % (
        base, q)))[0]
    assert j["id"] == r["id"]
    assert curl("-w", "%{http_code}", "%s/v1/jobs/%s/done" % (
        base, j["id"]), "-d", json.dumps(
            {"token": j["token"], "result": {"ok": True}})) == "204"
    head = curl("-I", "%s/v1/jobs/%s" % (base, j["id"]))
    assert head.startswith("HTTP/1.1 200")
    assert curl("--compressed", base + "/").lower().startswith("<!doctype")
    p = subprocess.run(["curl", "-sSf", "%s/v1/jobs/999999999" % base],
                       capture_output=True, check=False)
    assert p.returncode == 22 and b"404" in p.stderr


NODE = """
const base = process.argv[2], queue = process.argv[3];
async function ask(method, path, body) {
  const r = await fetch(base + path, { method,
    body: body === undefined ? undefined
      : typeof body === "string" ? body : JSON.stringify(body) });
  const text = await r.text();
  return { status: r.status, type: r.headers.get("content-type"),
           json: text ? JSON.parse(text) : null };
}
(async () => {
  const out = {};
  out.added = await ask("POST", `/v1/queues/${queue}/jobs`, { to: "ana" });
  out.many = await Promise.all(Array.from({ length: 20 }, (_, n) =>
    ask("POST", `/v1/queues/${queue}.many/jobs`, { n })));
  const [job] = (await ask("POST", `/v1/queues/${queue}/fetch`)).json;
  out.job = job;
  out.done = await ask("POST", `/v1/jobs/${job.id}/done`,
    { token: job.token, result: ["ok"] });
  out.shown = await ask("GET", `/v1/jobs/${job.id}?wait=5s`);
  out.missing = await ask("GET", "/v1/jobs/99999999");
  out.put = await ask("PUT", `/v1/cache/${queue}?ttl=1h`, "v");
  const stop = new AbortController();
  const s = await fetch(base + `/v1/topics/${queue}`,
                        { signal: stop.signal });
  const reader = s.body.getReader();
  let heard = false;
  (async () => {
    while (!heard) {
      await ask("POST", `/v1/topics/${queue}`, { x: 1 });
      await new Promise((go) => setTimeout(go, 20));
    }
  })();
  let text = "";
  while (!/data: .*\\n\\n/.test(text)) {
    text += new TextDecoder().decode((await reader.read()).value);
  }
  heard = true;
  out.event = JSON.parse(/data: (.*)\\n/.exec(text)[1]);
  stop.abort();
  console.log(JSON.stringify(out));
})();
"""


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_node_fetch(bh, c, q, tmp_path):
    v = subprocess.run(["node", "--version"], capture_output=True, text=True,
                       check=True).stdout
    if int(v.strip("v").split(".")[0]) < 18:
        pytest.skip("node without fetch")
    script = tmp_path / "client.js"
    script.write_text(NODE)
    p = subprocess.run(
        ["node", str(script), "http://127.0.0.1:%d" % bh.http_port, q],
        capture_output=True, text=True, timeout=120, check=False)
    assert p.returncode == 0, p.stderr
    out = json.loads(p.stdout)
    assert out["added"]["status"] == 202
    assert len({r["json"]["id"] for r in out["many"]}) == 20
    assert out["job"]["payload"] == {"to": "ana"}
    assert out["done"] == {"status": 204, "type": None, "json": None}
    assert out["shown"]["json"]["result"] == ["ok"]
    assert out["missing"]["status"] == 404
    assert out["missing"]["type"] == "application/problem+json"
    assert out["put"]["status"] == 204
    assert out["event"] == {"topic": q, "data": {"x": 1}}
    assert c.get(out["job"]["id"])["result"] == '["ok"]'


def test_a_client_that_goes_in_the_middle(make):
    d = make({"http_timeout": "300ms"}, http=True)
    for cut in (b"POST /v1/queues/%s/jobs HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 5\r\n\r\nab",
                b"POST /v1/queues/%s/jobs HTTP/1.1\r\nHost: localhost\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with connect(d) as s:
            s.sendall(cut % b"q")
            s.shutdown(socket.SHUT_WR)
            answer = read_all(s)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 40")
    with Web(d) as w:
        assert w.get("/v1/queues/q").json["waiting"] == 0
        assert w.get("/v1/queues").json == []
