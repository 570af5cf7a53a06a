# SPDX-License-Identifier: MIT
"""Topics and job events over HTTP: event streams and WebSockets."""
import json
import struct

import pytest

from daemon import wait_until
from web import Events, Reader, Socket, Web, connect, read_all, subscribed

HTTP = True
OPTIONS = {"http_stream_buffer": "64KiB", "event_ring": 20}


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def publish(w, topic, message):
    r = w.post("/v1/topics/" + topic, message)
    assert r.status == 200, r
    return r.json["receivers"]


def test_a_topic_is_followed(bh, w, q):
    with Events(bh, "/v1/topics/%s.*" % q) as e:
        assert e.status == 200
        assert e.headers["content-type"] == "text/event-stream"
        assert e.block() == ":"
        assert publish(w, q + ".a", {"n": 1}) == 1
        assert publish(w, "x" + q, "other") == 0
        assert publish(w, q + ".b", "no\njson \u00e9") == 1
        assert publish(w, q + ".c", '{"two":\n\n"lines"}') == 1
        first, second, third = e.event(), e.event(), e.event()
    assert first[1] == {"topic": q + ".a", "data": {"n": 1}}
    assert second[1] == {"topic": q + ".b", "data": "no\njson \u00e9"}
    assert third[1]["data"] == {"two": "lines"}
    assert int(first[0]) < int(second[0]) < int(third[0])
    wait_until(lambda: publish(w, q + ".a", "1") == 0, "the end")


def test_who_comes_back_hears_what_it_missed(bh, w, q):
    with Events(bh, "/v1/topics/" + q) as e:
        e.block()
        publish(w, q, "1")
        seen, _ = e.event()
    for n in (2, 3):
        publish(w, q, str(n))
    for again in (Events(bh, "/v1/topics/" + q, {"Last-Event-ID": seen}),
                  Events(bh, "/v1/topics/%s?last_event_id=%s" % (q, seen))):
        with again as e:
            assert [e.event()[1]["data"] for _ in range(2)] == [2, 3]
    for n in range(30):
        publish(w, q, str(n))
    with Events(bh, "/v1/topics/" + q, {"Last-Event-ID": seen}) as e:
        assert e.event()[1] == {"event": "gap"}
        assert [e.event()[1]["data"] for _ in range(20)] == \
            list(range(10, 30))
    with connect(bh) as s:
        s.sendall(b"GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n"
                  b"Last-Event-ID: soon\r\n\r\n")
        assert Reader(s).answer().code == "BADARG"


def test_the_life_of_a_job_is_told(bh, w, q):
    with Events(bh, "/v1/events?queue=" + q) as e:
        e.block()
        w.add("other" + q)
        i = w.add(q)
        job, = w.fetch(q)
        w.post("/v1/jobs/%s/progress" % i, token=job["token"], value="half")
        w.post("/v1/jobs/%s/done" % i, token=job["token"])
        events = [e.event()[1] for _ in range(4)]
    assert [x["event"] for x in events] == \
        ["added", "active", "progress", "completed"]
    assert {(x["id"], x["queue"]) for x in events} == {(i, q)}
    assert events[2]["progress"] == "half"
    assert events[3]["state"] == "completed" and events[3]["at"] > 0


def test_a_web_socket_tells_the_same(bh, w, q):
    with Socket(bh, "/v1/topics/%s.*" % q) as ws:
        assert ws.status == 101
        subscribed(lambda: publish(w, q + ".a", {"n": 1}))
        first = ws.event()
        assert first["topic"] == q + ".a" and first["data"] == {"n": 1}
        publish(w, q + ".b", "x" * 300)
        second = ws.event()
        assert second["data"] == "x" * 300
        assert int(first["id"]) < int(second["id"])
        ws.send(9, b"are you there")
        assert ws.frame() == (10, b"are you there")
        # What a client says beyond that is of no interest, but no fault.
        ws.send(1, b"hello")
        publish(w, q + ".c", "1")
        assert ws.event()["data"] == 1
        ws.send(8, struct.pack(">H", 1000))
        opcode, data = ws.frame()
        assert opcode == 8 and struct.unpack(">H", data[:2])[0] == 1000
        assert ws.s.recv(10) == b""
    assert publish(w, q + ".c", "1") == 0


def test_a_web_socket_tells_of_jobs(bh, w, q):
    with Socket(bh, "/v1/events?queue=" + q) as ws:
        assert ws.status == 101
        i = w.add(q)
        event = ws.event()
        assert (event["event"], event["id"], event["queue"]) == \
            ("added", i, q)
        assert int(event["event_id"]) > 0


@pytest.mark.parametrize("headers, status", [
    ({"Sec-WebSocket-Version": "8"}, 426),
    ({"Sec-WebSocket-Key": "short"}, 400),
    ({"Sec-WebSocket-Key": "!" * 24}, 400),
    ({"Origin": "https://evil.example.com"}, 403)])
def test_a_bad_handshake_is_refused(bh, headers, status):
    text = {"Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    text.update(headers)
    with connect(bh) as s:
        s.sendall(("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n" + "".join(
            "%s: %s\r\n" % x for x in text.items()) + "\r\n").encode())
        r = Reader(s).answer()
    assert r.status == status
    if status == 426:
        assert r.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("send", [
    lambda ws: ws.send(1, b"unmasked", mask=False),
    lambda ws: ws.s.sendall(b"\xf1\x80aaaa"),
    lambda ws: ws.send(1, b"\xff\xfe"),
    lambda ws: ws.s.sendall(b"\x81\xff" + struct.pack(">Q", 1 << 62) +
                            b"aaaa"),
    lambda ws: ws.s.close()])
def test_a_broken_web_socket_ends(bh, w, q, send):
    with Socket(bh, "/v1/topics/" + q) as ws:
        assert ws.status == 101
        subscribed(lambda: publish(w, q, "1"))
        send(ws)
        wait_until(lambda: publish(w, q, "1") == 0, "its end")


def test_a_slow_reader_is_dropped_and_others_are_not(bh, w, q):
    message = json.dumps("x" * 20000)
    with Events(bh, "/v1/topics/" + q) as slow, \
            Socket(bh, "/v1/topics/" + q) as slow_ws, \
            Events(bh, "/v1/topics/" + q) as fast:
        fast.block()
        subscribed(lambda: publish(w, q, "0"), 3)
        count = 3
        while count > 1:
            count = publish(w, q, message)
            while fast.event()[1]["data"] == 0:
                pass
        del slow, slow_ws
        publish(w, q, "1")
        assert fast.event()[1]["data"] == 1
    text = bh.err_text()
    assert text.count("too slowly (http_stream_buffer is full)") >= 2


def test_upgrade_alone_is_no_handshake(bh, w, q):
    lines = (b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
    for version, more in ((b"1.1", b""), (b"1.1", b"Connection: close\r\n"),
                          (b"1.0", b"Connection: Upgrade\r\n")):
        with connect(bh) as s:
            s.sendall(b"GET /v1/topics/%s HTTP/%s\r\nHost: localhost\r\n%s"
                      b"\r\n" % (q.encode(), version, lines + more))
            status, headers = Reader(s).head()
        assert status == 200
        assert headers["content-type"] == "text/event-stream"


def test_pings_whose_answers_nobody_reads_end_a_socket(bh, q):
    pings = b"\x89\x80\0\0\0\0" * 10000
    at = 0
    with Socket(bh, "/v1/topics/" + q) as ws:
        ws.s.settimeout(0.1)

        def is_dropped():
            nonlocal at
            try:
                for _ in range(50):
                    at = (at + ws.s.send(pings[at:])) % 6
            except TimeoutError:
                pass                # it has no room now
            except OSError:
                return True         # it is closed
            return "it reads no answers to its pings" in bh.err_text()

        wait_until(is_dropped, "the end of the connection")


def test_pings_behind_much_else_are_answered(bh, q):
    with Socket(bh, "/v1/topics/" + q) as ws:
        for _ in range(100):
            ws.send(1, b"x" * 4000)
        ws.s.sendall(b"\x89\x80\0\0\0\0" * 1000)
        assert ws.reader.exactly(2000) == b"\x8a\0" * 1000


def test_a_lone_reader_of_nothing_is_seen_to_go(bh, w, q):
    for _ in range(20):
        with Events(bh, "/v1/topics/" + q) as e:
            e.block()
    wait_until(lambda: publish(w, q, "1") == 0, "their end")


def test_head_opens_no_stream(bh, q, w):
    with connect(bh) as s:
        s.sendall(b"HEAD /v1/topics/%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
                  % q.encode())
        r = Reader(s).answer(has_body=False)
        assert r.status == 200
        assert r.headers["content-type"] == "text/event-stream"
    assert publish(w, q, "1") == 0


def test_streams_end_when_the_daemon_does(make):
    d = make(http=True)
    with Events(d, "/v1/events") as e, Socket(d, "/v1/topics/*") as ws:
        e.block()
        with Web(d) as w:
            subscribed(lambda: publish(w, "a", "1"))
        assert ws.event()["data"] == 1
        d.signal(15)
        assert e.block() == ": bye"
        assert e.block() is None
        opcode, data = ws.frame()
        assert opcode == 8 and struct.unpack(">H", data[:2])[0] == 1001
        assert d.wait_exit() == 0


def test_a_killed_client_is_closed_whatever_it_does(bh, c, q):
    fetch = b"POST /v1/queues/%s/fetch?wait=1h HTTP/1.1\r\n" % q.encode()
    with Events(bh, "/v1/topics/" + q) as e, connect(bh) as waits, \
            Socket(bh, "/v1/topics/" + q) as ws, Web(bh) as rests:
        e.block()
        assert rests.get("/v1/queues").status == 200
        waits.sendall(fetch + b"Host: localhost\r\n\r\n")
        wait_until(lambda: "cmd=job.fetch" in
                   c.call("CLIENT", "LIST").lower())
        for s in (e.s, waits, ws.s, rests.conn.sock):
            addr = "127.0.0.1:%d" % s.getsockname()[1]
            assert c.call("CLIENT", "KILL", "ADDR", addr) == 1
        for s in (e.s, waits, ws.s, rests.conn.sock):
            assert read_all(s) == b""
    wait_until(lambda: "cmd=job.fetch" not in
               c.call("CLIENT", "LIST").lower())
    assert c.fetch(q) == []


def test_a_stream_ends_with_its_token(bh, c, q):
    secret = c.call("BELLHOP", "TOKEN", "ADD", "reads", "reader")
    with Events(bh, "/v1/topics/" + q, {"Authorization": "Bearer " + secret}) \
            as e:
        e.block()
        c.call("BELLHOP", "TOKEN", "DEL", "reads")
        assert read_all(e.s) == b""


def test_a_second_signal_ends_streams_at_once(make):
    d = make(http=True)
    with Events(d, "/v1/events") as e, Socket(d, "/v1/events") as ws, \
            connect(d) as s:
        e.block()
        assert ws.status == 101
        s.sendall(b"POST /v1/queues/q/fetch?wait=1h HTTP/1.1\r\n"
                  b"Host: localhost\r\n\r\n")
        d.signal(15)
        d.signal(15)
        assert d.wait_exit() is not None
