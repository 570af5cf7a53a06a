# SPDX-License-Identifier: MIT
"""Clients of the HTTP door: whole requests, raw bytes, event streams and
WebSockets."""
import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import time
from urllib.parse import quote

from daemon import PATIENCE


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of a problem."""
        assert self.headers["content-type"] == "application/problem+json", \
            self.body
        assert self.json["status"] == self.status
        assert self.json["title"] and self.json["type"]
        return self.json["code"]

    @property
    def detail(self):
        return self.json["detail"]

    def __repr__(self):
        return "<%d %r %r>" % (self.status, self.headers, self.body[:400])


class Web:
    """One keep-alive connection."""

    def __init__(self, d, token=None, timeout=PATIENCE):
        self.d = d
        self.token = token
        self.conn = http.client.HTTPConnection("127.0.0.1", d.http_port,
                                               timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.conn.close()

    def ask(self, method, path, body=None, headers=None, **query):
        if query:
            path += "?" + "&".join(
                k + "=" + quote(str(v), safe="") for k, v in query.items())
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        self.conn.request(method, path, body, headers)
        r = self.conn.getresponse()
        return Answer(r.status, {k.lower(): v for k, v in r.getheaders()},
                      r.read())

    def get(self, path, **query):
        return self.ask("GET", path, **query)

    def post(self, path, body=None, **query):
        return self.ask("POST", path, body, **query)

    def put(self, path, body=None, **query):
        return self.ask("PUT", path, body, **query)

    def delete(self, path, **query):
        return self.ask("DELETE", path, **query)

    def add(self, queue, body=b"{}", **query):
        """A job's id."""
        r = self.post("/v1/queues/%s/jobs" % queue, body, **query)
        assert r.status in (200, 202), r
        return r.json["id"]

    def fetch(self, queue, **query):
        r = self.post("/v1/queues/%s/fetch" % queue, **query)
        assert r.status == 200, r
        return r.json


def connect(d, timeout=PATIENCE):
    s = socket.create_connection(("127.0.0.1", d.http_port), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    """Until the other side ends; a reset ends it too."""
    out = b""
    try:
        while True:
            some = s.recv(65536)
            if not some:
                return out
            out += some
    except ConnectionError:
        return out


class Reader:
    """Answers in the order of a connection."""

    def __init__(self, s):
        self.s = s
        self.buf = b""

    def _more(self):
        some = self.s.recv(65536)
        if not some:
            raise EOFError(self.buf)
        self.buf += some

    def line(self):
        while b"\n" not in self.buf:
            self._more()
        line, self.buf = self.buf.split(b"\n", 1)
        return line.rstrip(b"\r").decode()

    def exactly(self, n):
        while len(self.buf) < n:
            self._more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def head(self):
        status = int(self.line().split(" ")[1])
        headers = {}
        while True:
            line = self.line()
            if not line:
                return status, headers
            k, v = line.split(":", 1)
            headers[k.lower()] = v.strip()

    def answer(self, has_body=True):
        status, headers = self.head()
        body = b""
        if has_body and status not in (204, 304) and status >= 200:
            body = self.exactly(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    def chunk(self):
        """Of a chunked answer; b"" is its end."""
        n = int(self.line(), 16)
        data = self.exactly(n)
        self.line()
        return data


class Events:
    """A client of an event stream."""

    def __init__(self, d, path, headers=None):
        self.s = connect(d)
        text = "GET %s HTTP/1.1\r\nHost: localhost\r\n" % path
        for k, v in (headers or {}).items():
            text += "%s: %s\r\n" % (k, v)
        self.s.sendall(text.encode() + b"\r\n")
        self.reader = Reader(self.s)
        self.status, self.headers = self.reader.head()
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def block(self):
        """The next one, comments too; None at the end."""
        while "\n\n" not in self.text:
            data = self.reader.chunk()
            if not data:
                return None
            self.text += data.decode()
        block, self.text = self.text.split("\n\n", 1)
        return block

    def event(self):
        """(id, data)"""
        while True:
            block = self.block()
            if block is None:
                return None
            lines = block.split("\n")
            if all(x.startswith(":") for x in lines):
                continue
            ids = [x[4:] for x in lines if x.startswith("id: ")]
            data = [x[6:] for x in lines if x.startswith("data: ")]
            assert len(ids) + len(data) == len(lines), block
            return ids[0] if ids else None, json.loads("\n".join(data))


class Socket:
    """A WebSocket."""

    def __init__(self, d, path, headers=None):
        self.s = connect(d)
        key = base64.b64encode(os.urandom(16)).decode()
        text = ("GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                "Sec-WebSocket-Version: 13\r\n" % (path, key))
        for k, v in (headers or {}).items():
            text += "%s: %s\r\n" % (k, v)
        self.s.sendall(text.encode() + b"\r\n")
        self.reader = Reader(self.s)
        self.status, self.headers = self.reader.head()
        if self.status == 101:
            want = base64.b64encode(hashlib.sha1(
                (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
                .digest()).decode()
            assert self.headers["sec-websocket-accept"] == want

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, opcode, data=b"", mask=True):
        key = os.urandom(4)
        head = bytes([0x80 | opcode])
        n = len(data)
        bit = 0x80 if mask else 0
        head += bytes([bit | n]) if n < 126 else \
            bytes([bit | 126]) + struct.pack(">H", n)
        if mask:
            head += key
            data = bytes(b ^ key[i % 4] for i, b in enumerate(data))
        self.s.sendall(head + data)

    def frame(self):
        """(opcode, data)"""
        first, second = self.reader.exactly(2)
        assert first & 0x80 and not second & 0x80
        n = second & 0x7f
        if n == 126:
            n = struct.unpack(">H", self.reader.exactly(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.reader.exactly(8))[0]
        return first & 15, self.reader.exactly(n)

    def event(self):
        opcode, data = self.frame()
        assert opcode == 1, (opcode, data)
        return json.loads(data)


def subscribed(publish, receivers=1):
    """Publishes until so many have heard it: they are subscribed then."""
    deadline = time.monotonic() + PATIENCE
    while publish() < receivers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Answers of the interface, with their types.

JOB_INTEGERS = ("priority attempt attempts error_count stalled run_at "
                "expires_at created_at started_at finished_at "
                "lease_until").split()
JOB_STRINGS = "id queue state group unique token error origin".split()
JOB_MEMBERS = set(JOB_INTEGERS + JOB_STRINGS + [
    "payload", "payload_encoding", "result", "result_encoding", "errors",
    "progress", "worker"])


def check_job(job):
    """The types of a job's object; the job."""
    for name in JOB_INTEGERS:
        assert type(job.get(name, 0)) is int, (name, job)
    for name in JOB_STRINGS:
        assert type(job.get(name, "")) is str, (name, job)
    assert {"id", "queue", "state", "payload", "priority", "attempt",
            "attempts", "run_at", "created_at"} <= set(job), job
    assert not set(job) - JOB_MEMBERS, set(job) - JOB_MEMBERS
    assert job["id"].isdigit()
    assert job["payload_encoding"] in ("json", "text", "base64")
    if "result" in job:
        assert job["result_encoding"] in ("json", "text", "base64")
    for e in job.get("errors", []):
        assert type(e["attempt"]) is int and type(e["at"]) is int, e
        assert type(e["message"]) is str, e
    return job


def show(w, id):
    r = w.get("/v1/jobs/" + id)
    assert r.status == 200, r
    assert r.headers["content-type"].startswith("application/json")
    return check_job(r.json)


def fetch(w, queue, **query):
    jobs = w.fetch(queue, **query)
    for j in jobs:
        check_job(j)
        assert j["state"] == "active" and j["token"], j
    return jobs


def empty(r):
    assert r.status == 204 and r.body == b"", r
    return True
