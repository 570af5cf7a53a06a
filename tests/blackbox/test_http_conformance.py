# SPDX-License-Identifier: MIT
"""HTTP/1.1 to the letter: what must be answered, refused or survived."""
import time

import pytest

from daemon import wait_until
from web import Reader, Web, connect, read_all

HTTP = True
OPTIONS = {"http_timeout": "1500ms", "http_idle_timeout": "1500ms",
           "max_payload": 65536}

HOST = b"Host: localhost\r\n"
POST = b"POST /v1/queues/%s/jobs HTTP/1.1\r\n"


def statuses(data):
    """The status of each answer in what has been read."""
    return [int(part[2:5]) for part in data.split(b"HTTP/1.")[1:]]


def ask(bh, data):
    """Statuses and bytes of all that comes until the connection ends."""
    with connect(bh) as s:
        s.sendall(data)
        out = read_all(s)
    return statuses(out), out


# None of these may add a job; and no second request may be found in them.
REFUSED = [
    ("two different lengths", b"Content-Length: 2\r\nContent-Length: 3\r\n",
     b"{}x"),
    ("the same length twice", b"Content-Length: 2\r\nContent-Length: 2\r\n",
     b"{}"),
    ("a list of lengths", b"Content-Length: 2, 2\r\n", b"{}"),
    ("length and chunks", b"Content-Length: 5\r\nTransfer-Encoding: chunked"
     b"\r\n", b"0\r\n\r\n"),
    ("chunks and length", b"Transfer-Encoding: chunked\r\nContent-Length: 5"
     b"\r\n", b"0\r\n\r\n"),
    ("an unknown encoding", b"Transfer-Encoding: gzip, xchunked\r\n",
     b"0\r\n\r\n"),
    ("identity", b"Transfer-Encoding: identity\r\n", b""),
    ("two encodings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:"
     b" identity\r\n", b"0\r\n\r\n"),
    ("a negative length", b"Content-Length: -1\r\n", b""),
    ("a length with a letter", b"Content-Length: 2x\r\n", b"{}"),
    ("a length with a sign", b"Content-Length: +2\r\n", b"{}"),
    ("a hexadecimal length", b"Content-Length: 0x2\r\n", b"{}"),
    ("an empty length", b"Content-Length: \r\n", b""),
    ("a length beyond all numbers", b"Content-Length: 99999999999999999999999"
     b"\r\n", b"{}"),
    ("a blank before the colon", b"Content-Length : 2\r\n", b"{}"),
    ("a blank before the colon of another", b"X : 2\r\nContent-Length: 2\r\n",
     b"{}"),
    ("no name", b": x\r\nContent-Length: 2\r\n", b"{}"),
    ("no colon", b"Nonsense\r\nContent-Length: 2\r\n", b"{}"),
    ("a bare CR in a value", b"X: a\rb\r\nContent-Length: 2\r\n", b"{}"),
    ("a control character", b"X: a\x01b\r\nContent-Length: 2\r\n", b"{}"),
    ("a name that is no token", b"X(y): a\r\nContent-Length: 2\r\n", b"{}"),
    ("a NUL in a value", b"X: a\0b\r\nContent-Length: 2\r\n", b"{}"),
    ("a NUL in a length", b"Content-Length: 2\0 3\r\n", b"{}"),
    ("a continued line", b"Transfer-Encoding: chunked\r\n x\r\n"
     b"Content-Length: 2\r\n", b"{}"),
    ("a continued line at the end", b"Content-Length: 2\r\nX: a\r\n b\r\n",
     b"{}"),
    ("a line that is a colon", b"Content-Length: 2\r\n:\r\nX: a\r\n",
     b"{}"),
    ("a line that ends without a CR", b"X: a\nContent-Length: 2\r\n",
     b"{}"),
    ("a CR alone", b"X: a\r\rContent-Length: 2\r\n", b"{}"),
    ("two hosts", b"Host: localhost\r\nContent-Length: 2\r\n", b"{}"),
    ("a chunk size that is none", b"Transfer-Encoding: chunked\r\n",
     b"zz\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size beyond all numbers", b"Transfer-Encoding: chunked\r\n",
     b"fffffffffffffffff\r\nabc"),
    ("a chunk without its end", b"Transfer-Encoding: chunked\r\n",
     b"3\r\nabcd\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("headers, body", [x[1:] for x in REFUSED],
                         ids=[x[0] for x in REFUSED])
def test_a_request_that_can_be_read_in_two_ways_is_refused(bh, c, q, headers,
                                                           body):
    got, out = ask(bh, POST % q.encode() + HOST + headers + b"\r\n" + body +
                   b"GET /version HTTP/1.1\r\n" + HOST + b"\r\n")
    # libmicrohttpd says some of its refusals twice.
    assert set(got) in ({400}, {413}, set()), out
    assert c.stats(q)["waiting"] == 0


@pytest.mark.parametrize("data", [
    b"GET /version HTTP/1.1\r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: \r\n\r\n",
    b"GET /version HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET  /version HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /ver sion HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /version HTTP/2.0\r\n" + HOST + b"\r\n",
    b"GET /version HTTX/1.1\r\n" + HOST + b"\r\n",
    b"GET /version\r\n\r\n",
    bytes.fromhex("16030100a5010000a10303") + b"\0" * 100,
    b"\xff\xfe\xfd\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
    b"PING\r\n",
    b"*1\r\n$4\r\nPING\r\n",
])
def test_what_is_no_request_of_ours_is_no_good(bh, w, data):
    got, out = ask(bh, data)
    assert len(set(got)) <= 1, out
    assert set(got) <= {400, 403, 404, 408, 414, 505}, out
    assert w.get("/version").status == 200


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


@pytest.mark.parametrize("data", [
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET //version HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /version/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://localhost/nowhere HTTP/1.1\r\n" + HOST + b"\r\n",
])
def test_odd_paths_lead_nowhere(bh, data):
    with connect(bh) as s:
        s.sendall(data)
        assert Reader(s).answer().status == 404


def test_nothing_is_read_behind_chunks(bh, c, q):
    """A proxy may see more of the extension where LF ends the line here."""
    first = POST % q.encode() + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    second = POST % q.encode() + HOST + b"Content-Length: 2\r\n\r\n{}"
    got, out = ask(bh, first + b"3;x\nabc\r\n0\r\n\r\n" + second)
    assert len(got) == 1 and b"close" in out.lower(), out
    assert c.stats(q)["waiting"] <= 1


def test_trailers_are_the_last_word(bh, c, q):
    got, out = ask(bh, POST % q.encode() + HOST + b"Transfer-Encoding:"
                   b" chunked\r\n\r\n3\r\nabc\r\n0\r\nX: a\r\n: b\r\n\r\n"
                   b"GET /version HTTP/1.1\r\n" + HOST + b"\r\n")
    assert got == [202], out


def test_http_1_0_closes_unless_asked(bh):
    got, out = ask(bh, b"GET /version HTTP/1.0\r\n\r\n")
    assert got == [200] and b"chunked" not in out
    with connect(bh) as s:
        reader = Reader(s)
        for _ in range(3):
            s.sendall(b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n"
                      b"\r\n")
            assert reader.answer().status == 200


def test_a_connection_is_kept_and_closed_as_asked(bh):
    with connect(bh) as s:
        reader = Reader(s)
        for _ in range(20):
            s.sendall(b"GET /version HTTP/1.1\r\n" + HOST + b"\r\n")
            assert reader.answer().status == 200
        s.sendall(b"GET /version HTTP/1.1\r\nConnection: close\r\n" + HOST +
                  b"\r\n")
        assert reader.answer().headers["connection"].lower() == "close"
        assert s.recv(10) == b""


def test_an_error_does_not_cost_the_connection(bh, q):
    with connect(bh) as s:
        reader = Reader(s)
        for path, status in ((b"/nowhere", 404), (b"/version", 405),
                             (b"/v1/queues/%s/jobs?x=y" % q.encode(), 400),
                             (b"/v1/queues/%s/jobs" % q.encode(), 202)):
            s.sendall(b"POST " + path + b" HTTP/1.1\r\n" + HOST +
                      b"Content-Length: 5\r\n\r\nhello")
            assert reader.answer().status == status


def test_pipelined_posts_are_answered_each_once(bh, c, q):
    n = 500
    one = POST % q.encode() + HOST + b"Content-Length: 3\r\n\r\nabc"
    with connect(bh) as s:
        s.sendall(one * n)
        reader = Reader(s)
        ids = [reader.answer().json["id"] for _ in range(n)]
    assert len(set(ids)) == n and ids == sorted(ids, key=int)
    assert c.stats(q)["waiting"] == n


def test_pipelined_answers_keep_their_order(bh, q):
    path = q.encode()
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/fetch?wait=50ms HTTP/1.1\r\n" % path +
                  HOST + b"\r\n" + b"GET /version HTTP/1.1\r\n" + HOST +
                  b"\r\n" + POST % path + HOST +
                  b"Content-Length: 1\r\n\r\nx" +
                  b"DELETE /v1/jobs/none HTTP/1.1\r\n" + HOST + b"\r\n")
        reader = Reader(s)
        assert reader.answer().json == []
        assert "version" in reader.answer().json
        assert reader.answer().status == 202
        assert reader.answer().status == 400


def test_a_request_may_come_byte_by_byte(bh, c, q):
    with connect(bh) as s:
        for i in POST % q.encode() + HOST + b"Content-Length: 3\r\n\r\nabc":
            s.sendall(bytes([i]))
        assert Reader(s).answer().status == 202
    assert c.stats(q)["waiting"] == 1


def test_expect_is_answered_before_the_body(bh, q):
    with connect(bh) as s:
        reader = Reader(s)
        s.sendall(POST % q.encode() + HOST + b"Expect: 100-continue\r\n"
                  b"Content-Length: 3\r\n\r\n")
        assert reader.head()[0] == 100
        s.sendall(b"abc")
        assert reader.answer().status == 202
        # Nothing is to be sent that will not be read.
        s.sendall(POST % q.encode() + HOST + b"Expect: 100-continue\r\n"
                  b"Content-Length: 70000\r\n\r\n")
        assert reader.answer().status == 413
        assert s.recv(10) == b""


def test_a_long_head_is_refused(bh, w):
    for head in (b"X: " + b"a" * 20000 + b"\r\n",
                 b"".join(b"X%d: a\r\n" % i for i in range(2000)),
                 b"X: " + b"a" * 8300 + b"\r\n"):
        got, out = ask(bh, b"GET /version HTTP/1.1\r\n" + HOST + head +
                       b"\r\n")
        assert got in ([431], [413], []), out
    got, out = ask(bh, b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST +
                   b"\r\n")
    assert got in ([414], [431], []), out
    r = w.ask("GET", "/version", None, {"X-%d" % i: "a" * 50
                                        for i in range(100)})
    assert r.status == 200


def test_a_dribbled_head_ends_by_the_deadline(bh):
    ends_by_the_deadline(bh, b"GET /version HTTP/1.1\r\n" + HOST + b"X: ")


def test_a_dribbled_body_ends_by_the_deadline(bh, c, q):
    ends_by_the_deadline(bh, POST % q.encode() + HOST +
                         b"Content-Length: 60000\r\n\r\n")
    assert c.stats(q)["waiting"] == 0


def test_a_dribbled_first_line_ends_by_the_deadline(bh):
    ends_by_the_deadline(bh, b"GET /")


def ends_by_the_deadline(bh, start):
    """However steadily the bytes come: no rest is as long as the limit."""
    out = b""
    with connect(bh) as s:
        s.sendall(start)
        s.settimeout(0.1)
        began = time.monotonic()
        while True:
            assert time.monotonic() - began < 40
            try:
                some = s.recv(1000)
                if not some:
                    break
                out += some
                continue
            except TimeoutError:
                pass
            except ConnectionError:
                break
            try:
                s.sendall(b"a")
            except ConnectionError:
                break
    assert statuses(out) in ([408], []), out


def test_silent_connections_are_closed(bh):
    with connect(bh) as fresh, connect(bh) as used:
        used.sendall(b"GET /version HTTP/1.1\r\n" + HOST + b"\r\n")
        assert Reader(used).answer().status == 200
        assert used.recv(10) == b""
        read_all(fresh)


def test_a_call_that_waits_is_no_slow_client(bh, w, q):
    with connect(bh) as s:
        s.sendall(b"POST /v1/queues/%s/fetch?wait=1h HTTP/1.1\r\n" %
                  q.encode() + HOST + b"\r\n")
        began = time.monotonic()
        # Longer than both limits.
        wait_until(lambda: time.monotonic() - began > 3.5)
        i = w.add(q)
        assert Reader(s).answer().json[0]["id"] == i


def connections(w):
    for line in w.get("/metrics").body.decode().splitlines():
        if line.startswith("bellhop_http_connections "):
            return int(float(line.split()[1]))
    raise AssertionError("no such figure")


def test_thousands_of_broken_connections_leave_nothing(bh, w):
    for n in range(300):
        s = connect(bh)
        s.sendall((POST % b"broken" + HOST + b"Content-Length: 10\r\n\r\nabc"
                   )[:n])
        s.close()
    wait_until(lambda: connections(w) == 1, "the connections' end")
