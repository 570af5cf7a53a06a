# SPDX-License-Identifier: MIT
"""A real browser: a page uses EventSource and WebSocket, and what it sees
comes back to the test by POST. The page is of another origin, so this is also
about http_origins."""
import http.server
import json
import queue
import shutil
import subprocess
import tempfile
import threading

import pytest

from daemon import PATIENCE, wait_until

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium on this machine")

PAGE = """<!doctype html><title>page</title><script>
const door = "%(door)s";
let last = Promise.resolve();          // one after the other, in order
function tell(what, data) {
  last = last.then(() => fetch(
    "/seen", { method: "POST", body: JSON.stringify({ what, data }) }));
}
%(script)s
</script>"""


class Site(http.server.ThreadingHTTPServer):
    """Serves one page and hears what it tells."""

    daemon_threads = True

    def __init__(self):
        self.page = ""
        self.seen = queue.Queue()
        super().__init__(("127.0.0.1", 0), Handler)
        self.origin = "http://127.0.0.1:%d" % self.server_port
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def expect(self, what):
        """The data of the next thing that the page tells under this name."""
        while True:
            item = self.seen.get(timeout=PATIENCE)
            if item["what"] == what:
                return item["data"]


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b"", kind="text/html"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/":
            self.answer(200, self.server.page.encode())
        else:
            self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.put(json.loads(body))
        self.answer(204)

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    s = Site()
    yield s
    s.shutdown()
    s.server_close()


@pytest.fixture
def browse(site):
    """browse(script, door): a browser opens the page with this script."""
    running = []

    def start(script, door):
        profile = tempfile.mkdtemp(prefix="bh-browser-")
        site.page = PAGE % {"door": door, "script": script}
        running.append((subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking",
             "--user-data-dir=" + profile, site.origin + "/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), profile))

    yield start
    for process, profile in running:
        process.terminate()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def publish(d, topic, value):
    d.client().call("PUBLISH", topic, json.dumps(value))


@pytest.fixture
def door(make, site):
    d = make({"http_origins": [site.origin]}, http=True)
    d.url = "http://127.0.0.1:%d" % d.http_port
    return d


def test_event_source(door, site, browse):
    browse("""
      const es = new EventSource(door + "/v1/topics/guest.*");
      es.onopen = () => tell("open", null);
      es.onmessage = (e) =>
        tell("message", { id: e.lastEventId, data: JSON.parse(e.data) });
    """, door.url)
    site.expect("open")
    publish(door, "guest.9", {"text": "hello"})
    publish(door, "other", {"text": "not for us"})
    publish(door, "guest.10", "a string")
    first = site.expect("message")
    second = site.expect("message")
    assert first["data"] == {"topic": "guest.9", "data": {"text": "hello"}}
    assert second["data"] == {"topic": "guest.10", "data": "a string"}
    assert 0 < int(first["id"]) < int(second["id"])


def test_event_source_resumes_by_itself(door, site, browse):
    """The browser reconnects with Last-Event-ID: what came meanwhile is not
    lost, and nothing comes twice."""
    browse("""
      const first = new EventSource(door + "/v1/topics/t");
      let n = 0;
      first.onopen = () => tell("open", null);
      first.onmessage = (e) => {
        tell("message", JSON.parse(e.data).data);
        if (++n < 2) return;
        first.close();
        tell("closed", e.lastEventId);
      };
    """, door.url)
    site.expect("open")
    publish(door, "t", 1)
    publish(door, "t", 2)
    assert [site.expect("message"), site.expect("message")] == [1, 2]
    last = site.expect("closed")
    publish(door, "t", 3)
    browse("""
      const es = new EventSource(door + "/v1/topics/t?last_event_id=%s");
      es.onmessage = (e) => tell("again", JSON.parse(e.data).data);
    """ % last, door.url)
    assert site.expect("again") == 3


def test_web_socket(door, site, browse):
    browse("""
      const ws = new WebSocket(door.replace("http", "ws") + "/v1/topics/t");
      ws.onopen = () => tell("open", null);
      ws.onmessage = (e) => tell("message", JSON.parse(e.data));
      ws.onclose = (e) => tell("close", e.code);
    """, door.url)
    site.expect("open")
    publish(door, "t", {"n": 1})
    seen = site.expect("message")
    assert int(seen.pop("id")) > 0
    assert seen == {"topic": "t", "data": {"n": 1}}
    door.stop()
    assert site.expect("close") == 1001


def test_job_events(door, site, browse):
    browse("""
      const es = new EventSource(door + "/v1/events?queue=mail");
      es.onopen = () => tell("open", null);
      es.onmessage = (e) => tell("message", JSON.parse(e.data));
    """, door.url)
    site.expect("open")
    c = door.client()
    id = c.add("mail", "x")
    job = c.fetch1("mail")
    c.done(job)
    seen = [site.expect("message") for _ in range(3)]
    assert [e["event"] for e in seen] == ["added", "active", "completed"]
    assert {e["id"] for e in seen} == {str(id)}
    assert {e["queue"] for e in seen} == {"mail"}


def test_a_page_of_an_unknown_origin_gets_nothing(make, site, browse):
    d = make(http=True)
    d.url = "http://127.0.0.1:%d" % d.http_port
    browse("""
      const es = new EventSource(door + "/v1/topics/t");
      es.onopen = () => tell("open", "EventSource");
      es.onerror = () => {
        es.close();
        const ws = new WebSocket(door.replace("http", "ws") + "/v1/topics/t");
        ws.onopen = () => tell("open", "WebSocket");
        ws.onerror = () => fetch(door + "/v1/queues/q/jobs", {
          method: "POST", body: "x", mode: "no-cors" }).catch(() => 0)
          .then(() => tell("end", null));
      };
    """, d.url)
    item = site.seen.get(timeout=PATIENCE)
    assert item["what"] == "end", item
    assert d.client().stats("q")["waiting"] == 0
