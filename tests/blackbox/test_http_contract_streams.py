# SPDX-License-Identifier: MIT
"""Topics and job events over HTTP, as event streams and as WebSockets."""
import threading

import pytest

from daemon import wait_until
from web import Events, Socket, Web, subscribed

HTTP = True
OPTIONS = {"event_ring": 8}


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def publish(w, topic, body):
    r = w.post("/v1/topics/" + topic, body)
    assert r.status == 200, r
    assert set(r.json) == {"receivers"} and type(r.json["receivers"]) is int
    return r.json["receivers"]


def follow(bh, w, pattern, topic, headers=None, kind=Events):
    """A subscriber that is known to hear the topic."""
    s = kind(bh, "/v1/topics/" + pattern, headers)
    subscribed(lambda: publish(w, topic, b'"hello"'))
    while True:
        got = s.event()
        data = got if kind is Socket else got[1]
        if data.get("data") == "hello":
            return s


def after_hello(s):
    """The next event that is no repeated greeting: (id, data)."""
    while True:
        got = s.event()
        assert got is not None, "the stream has ended"
        if isinstance(got, dict):
            data = {k: v for k, v in got.items() if k != "id"}
            got = got["id"], data
        if got[1].get("data") != "hello":
            return got


# Topics.

def test_nobody_hears(w, q):
    assert publish(w, q, b"x") == 0


def test_head_of_a_stream(bh, w, q):
    with follow(bh, w, q, q) as s:
        assert s.status == 200
        assert s.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in s.headers["cache-control"] or \
            "no-store" in s.headers["cache-control"]


@pytest.mark.parametrize("kind", [Events, Socket])
def test_messages_in_order(bh, w, c, q, kind):
    with follow(bh, w, q, q, kind=kind) as s:
        bodies = [b'{"n":1}', b"[2]", b"plain text", b'"s"', b"null", b"12"]
        want = [{"n": 1}, [2], "plain text", "s", None, 12]
        for b in bodies:
            assert publish(w, q, b) == 1
        got = [after_hello(s) for _ in bodies]
        assert [d for _, d in got] == [
            {"topic": q, "data": x} for x in want]
        ids = [int(i) for i, _ in got]
        assert ids == sorted(set(ids))
        # PUBLISH of the other door.
        assert c.call("PUBLISH", q, '{"by":"resp"}') == 1
        assert after_hello(s)[1] == {"topic": q, "data": {"by": "resp"}}


def test_large_and_odd_messages(bh, w, q):
    with follow(bh, w, q, q) as s:
        texts = ["line 1\nline 2\r\nline 3", "x" * 60000, "gr\u00fc\u00df",
                 "data: x\n\nid: 5\n\n"]
        for t in texts:
            publish(w, q, t.encode())
        assert [after_hello(s)[1]["data"] for _ in texts] == texts


@pytest.mark.parametrize("kind", [Events, Socket])
def test_patterns(bh, w, q, kind):
    with follow(bh, w, q + ".*", q + ".a", kind=kind) as s:
        publish(w, q, b"no")
        publish(w, q + "x.a", b"no")
        publish(w, q + ".9", b"1")
        publish(w, q + ".a.b", b"2")
        assert after_hello(s)[1] == {"topic": q + ".9", "data": 1}
        assert after_hello(s)[1] == {"topic": q + ".a.b", "data": 2}


def test_one_character(bh, w, q):
    with follow(bh, w, q + ".%3F", q + ".a") as s:
        publish(w, q + ".ab", b"no")
        publish(w, q + ".b", b"1")
        assert after_hello(s)[1] == {"topic": q + ".b", "data": 1}


def test_two_readers_see_the_same(bh, w, q):
    with follow(bh, w, q, q) as a, follow(bh, w, q, q, kind=Socket) as b:
        wait_until(lambda: publish(w, q, b'"hello"') == 2, "both")
        for n in range(5):
            publish(w, q, b"%d" % n)
        assert [after_hello(a) for _ in range(5)] == [
            (str(i), d) for i, d in (after_hello(b) for _ in range(5))]


@pytest.mark.parametrize("how", ["header", "query"])
def test_resume(bh, w, q, how):
    with follow(bh, w, q, q) as s:
        for n in range(4):
            publish(w, q, b"%d" % n)
        got = [after_hello(s) for _ in range(4)]
    last = got[1][0]
    path, headers = "/v1/topics/" + q, {}
    if how == "header":
        headers["Last-Event-ID"] = last
    else:
        path += "?last_event_id=" + last
    publish(w, q, b"4")
    with Events(bh, path, headers) as s:
        assert [s.event() for _ in range(2)] == got[2:]
        assert s.event()[1]["data"] == 4
        publish(w, q, b"5")
        assert s.event()[1]["data"] == 5


def test_resume_of_a_web_socket(bh, w, q):
    with follow(bh, w, q, q) as s:
        publish(w, q, b"1")
        first = after_hello(s)[0]
        publish(w, q, b"2")
    with Socket(bh, "/v1/topics/%s?last_event_id=%s" % (q, first)) as s:
        e = s.event()
        assert (e["topic"], e["data"]) == (q, 2)


@pytest.mark.parametrize("kind", [Events, Socket])
def test_a_gap_is_told_first(bh, w, q, kind):
    with follow(bh, w, q, q) as s:
        publish(w, q, b"0")
        first = after_hello(s)[0]
    for n in range(1, 21):
        publish(w, q, b"%d" % n)
    with kind(bh, "/v1/topics/%s?last_event_id=%s" % (q, first)) as s:
        e = s.event()
        data = e[1] if kind is Events else e
        assert data["event"] == "gap", e
        seen = []
        while not seen or seen[-1] != 20:
            e = s.event()
            seen.append((e[1] if kind is Events else e)["data"])
        assert seen == list(range(21 - len(seen), 21)) and len(seen) <= 8


@pytest.mark.parametrize("last", ["abc", "-1", "1.5", "9" * 40])
def test_a_last_event_id_of_nobody(bh, w, q, last):
    with Events(bh, "/v1/topics/" + q, {"Last-Event-ID": last}) as s:
        # Refused, or told that it cannot be known what was missed.
        if s.status == 200:
            assert s.event()[1] == {"event": "gap"}
        else:
            assert s.status == 400


def test_a_topic_that_is_too_long(w):
    assert w.post("/v1/topics/" + "t" * 9000, b"x").status == 431


def test_a_socket_answers_ping_and_close(bh, w, q):
    with follow(bh, w, q, q, kind=Socket) as s:
        s.send(9, b"are you there")
        while True:
            opcode, data = s.frame()
            if opcode != 1:
                break
        assert (opcode, data) == (10, b"are you there")
        s.send(8, b"\x03\xe8")
        opcode, data = s.frame()
        assert opcode == 8 and data[:2] == b"\x03\xe8"


# Events.

class Follower:
    """Events of a queue, by one of the two ways."""

    def __init__(self, bh, kind, query, ready):
        self.s = kind(bh, "/v1/events" + query)
        assert self.s.status in (200, 101)
        self.kind = kind
        # It is subscribed once it hears of a job.
        self.queue = ready
        bh_web = Web(bh)
        stop = threading.Event()

        def add():
            while not stop.wait(0.02):
                bh_web.delete("/v1/jobs/" + bh_web.add(ready))

        t = threading.Thread(target=add)
        t.start()
        first = self.raw()
        stop.set()
        t.join()
        # Whatever was added for this is passed over by its queue's id.
        bh_web.post("/v1/topics/x", b"")
        self.mark = bh_web.add(ready)
        bh_web.close()
        assert first["queue"] == ready
        while True:
            e = self.raw()
            if e["id"] == self.mark:
                break

    def raw(self):
        e = self.s.event()
        assert e is not None
        if self.kind is Events:
            assert e[0].isdigit()
            return dict(e[1], event_id=e[0])
        return dict(e, event_id=str(e["event_id"]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.s.close()

    def of(self, id, last):
        """The events of a job up to this one."""
        out = []
        while True:
            e = self.raw()
            assert {"event", "id", "queue", "state", "attempt",
                    "at"} <= set(e), e
            assert type(e["id"]) is str and type(e["at"]) is int
            assert type(e["attempt"]) is int
            if e["id"] == id:
                out.append(e)
                if e["event"] == last:
                    return out


@pytest.mark.parametrize("kind", [Events, Socket])
def test_the_order_of_a_life(bh, w, q, kind):
    with Follower(bh, kind, "?queue=" + q, q) as f:
        w.delete("/v1/jobs/" + f.mark)
        w.add(q + "other")
        id = w.add(q, attempts=2, backoff="fixed", backoff_delay="1h")
        j, = w.fetch(q)
        w.post("/v1/jobs/%s/progress" % id, {"token": j["token"],
                                             "value": 50})
        w.post("/v1/jobs/%s/fail" % id, {"token": j["token"],
                                         "message": "boom"})
        w.post("/v1/jobs/%s/promote" % id)
        j, = w.fetch(q)
        w.post("/v1/jobs/%s/done" % id, token=j["token"])
        got = f.of(id, "completed")
        told = [(e["event"], e["state"], e["attempt"]) for e in got
                if e["event"] in ("added", "active", "progress", "retrying",
                                  "completed")]
        assert told == [
            ("added", "waiting", 0), ("active", "active", 1),
            ("progress", "active", 1), ("retrying", "delayed", 1),
            ("active", "active", 2), ("completed", "completed", 2)]
        assert all(e["queue"] == q for e in got)
        ids = [int(e["event_id"]) for e in got]
        assert ids == sorted(set(ids))
        ats = [e["at"] for e in got]
        assert ats == sorted(ats)
        assert str([e for e in got
                    if e["event"] == "progress"][0]["progress"]) == "50"
        assert [e for e in got if e["event"] == "retrying"][0][
            "error"] == "boom"


def test_failed_stalled_and_removed(bh, w, q):
    with Follower(bh, Events, "?queue=" + q, q) as f:
        w.delete("/v1/jobs/" + f.mark)
        id = w.add(q, max_stalled=1)
        w.fetch(q, lease="100ms")
        assert [e["event"] for e in f.of(id, "stalled")] == [
            "added", "active", "stalled"]
        j, = w.fetch(q, wait="40s")
        w.post("/v1/jobs/%s/fail" % id, {
            "token": j["token"], "message": "no", "final": True})
        failed = f.of(id, "failed")[-1]
        assert failed["state"] == "failed" and failed["error"] == "no"
        w.delete("/v1/jobs/" + id)
        assert f.of(id, "removed")[-1]["event"] == "removed"


def test_events_by_pattern_and_of_all(bh, w, q):
    with Follower(bh, Events, "?queue=%s.*" % q, q + ".a") as f, \
            Follower(bh, Events, "", q + ".a") as all_:
        w.add(q)
        other = w.add(q + "x")
        mine = w.add(q + ".b")
        while True:
            e = f.raw()
            assert e["queue"].startswith(q + ".")
            if e["id"] == mine:
                break
        assert all_.of(other, "added")[0]["queue"] == q + "x"
        assert all_.of(mine, "added")


def test_events_resume(bh, w, q):
    with Follower(bh, Events, "?queue=" + q, q) as f:
        w.delete("/v1/jobs/" + f.mark)
        a = w.add(q)
        last = f.of(a, "added")[-1]["event_id"]
    b = w.add(q)
    with Events(bh, "/v1/events?queue=" + q, {"Last-Event-ID": last}) as s:
        assert s.event()[1]["id"] == b
    for _ in range(20):
        w.add(q)
    with Events(bh, "/v1/events?queue=" + q, {"Last-Event-ID": last}) as s:
        assert s.event()[1] == {"event": "gap"}
        assert s.event()[1]["event"] == "added"


def test_what_an_event_shows_is_there(bh, w, c, q):
    with Follower(bh, Events, "?queue=" + q, q) as f:
        w.delete("/v1/jobs/" + f.mark)
        for _ in range(20):
            id = c.add(q)
            f.of(id, "added")
            assert w.get("/v1/jobs/" + id).status == 200


@pytest.mark.parametrize("query", ["other=1", "queue=%zz",
                                   "last_event_id=1&last_event_id=2"])
def test_bad_event_queries(bh, query):
    with Events(bh, "/v1/events?" + query) as s:
        assert s.status == 400
        assert s.headers["content-type"] == "application/problem+json"
