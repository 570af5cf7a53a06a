# SPDX-License-Identifier: MIT
"""A small Redis-protocol client: what the tests say to the daemon.

It speaks RESP2 and RESP3 and knows nothing of Bellhop beyond the shape of a
job. Strings are str with surrogateescape, so any bytes survive the round trip.
"""
import socket


def text(b):
    return b.decode("utf-8", "surrogateescape")


def raw(v):
    if isinstance(v, bytes):
        return v
    if isinstance(v, bool):
        raise TypeError("a bool is no argument: " + repr(v))
    if isinstance(v, float):
        v = repr(v)
    return str(v).encode("utf-8", "surrogateescape")


class RespError(Exception):
    """An error answer: .word is its first word, .text the rest."""

    def __init__(self, line):
        super().__init__(line)
        self.line = line
        self.word, _, self.text = line.partition(" ")

    def __eq__(self, other):
        return isinstance(other, RespError) and other.line == self.line

    def __hash__(self):
        return hash(self.line)


class Closed(ConnectionError):
    """The daemon closed the connection."""


class Push(list):
    """An out-of-band message of RESP3."""


def encode(args):
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        a = raw(a)
        out.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(out)


def as_map(v):
    """A map of RESP3 as it is, the flat array of RESP2 as a dict."""
    if v is None or isinstance(v, dict):
        return v
    assert len(v) % 2 == 0, "not a flat map: %r" % (v,)
    return dict(zip(v[::2], v[1::2]))


def flat_opts(opts):
    """PRIORITY=1, BACKOFF=("FIXED", 10), FINAL=True → arguments."""
    out = []
    for name, value in opts.items():
        if value is None or value is False:
            continue
        out.append(name)
        if value is True:
            continue
        if isinstance(value, (tuple, list)):
            out.extend(value)
        else:
            out.append(value)
    return out


class Client:
    """One connection. address is a path or (host, port)."""

    def __init__(self, address, proto=3, timeout=60):
        self.address = address
        self.buf = bytearray()
        self.pos = 0            # of what has not been read yet
        family = socket.AF_INET if isinstance(address, tuple) \
            else socket.AF_UNIX
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
            if proto == 3:
                self.call("HELLO", 3)
                self.number = self.call("CLIENT", "ID")
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # Bytes.

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed(str(e)) from e

    def _fill(self):
        # What was read is dropped now and not at each answer: that would
        # copy a large buffer once for each small string in it.
        del self.buf[:self.pos]
        self.pos = 0
        try:
            more = self.sock.recv(262144)
        except ConnectionResetError as e:
            raise Closed(str(e)) from e
        if not more:
            raise Closed("end of stream, %d bytes unread" % len(self.buf))
        self.buf += more

    def read_line(self):
        while True:
            i = self.buf.find(b"\r\n", self.pos)
            if i >= 0:
                line = bytes(self.buf[self.pos:i])
                self.pos = i + 2
                return line
            self._fill()

    def read_bytes(self, n):
        while len(self.buf) - self.pos < n:
            self._fill()
        self.pos += n
        return bytes(self.buf[self.pos - n:self.pos])

    # Answers.

    def _items(self, n):
        return [self.read() for _ in range(n)]

    def read(self):
        """One answer; an error is returned, not raised."""
        line = self.read_line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return text(rest)
        if kind == b"-":
            return RespError(text(rest))
        if kind == b":":
            return int(rest)
        if kind in b"$=" and kind:
            n = int(rest)
            if n < 0:
                return None
            body = self.read_bytes(n + 2)
            assert body[-2:] == b"\r\n", "bulk string without its end"
            return text(body[4:-2] if kind == b"=" else body[:-2])
        if kind in b"*~" and kind:
            n = int(rest)
            return None if n < 0 else self._items(n)
        if kind == b">":
            return Push(self._items(int(rest)))
        if kind == b"%":
            flat = self._items(2 * int(rest))
            return dict(zip(flat[::2], flat[1::2]))
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        raise AssertionError("not RESP: %r" % line)

    def send(self, *args):
        self.send_raw(encode(args))

    def call(self, *args):
        self.send(*args)
        r = self.read()
        if isinstance(r, RespError):
            raise r
        return r

    def error(self, *args):
        """The error that the command is answered with; fails without one."""
        self.send(*args)
        r = self.read()
        assert isinstance(r, RespError), \
            "%r was accepted: %r" % (args[:8], r)
        return r

    def pipe(self, commands):
        """Sends all, then reads all; errors are in the list."""
        self.send_raw(b"".join(encode(c) for c in commands))
        return [self.read() for _ in commands]

    # Jobs.

    def add(self, queue, payload="x", **opts):
        return self.call("JOB.ADD", queue, payload, *flat_opts(opts))

    def madd(self, queue, payloads, **opts):
        return self.call("JOB.MADD", queue, len(payloads), *payloads,
                         *flat_opts(opts))

    def fetch(self, *queues, **opts):
        """A list of jobs, [] for null."""
        r = self.call("JOB.FETCH", *queues, *flat_opts(opts))
        return [as_map(j) for j in r or []]

    def fetch1(self, *queues, **opts):
        """Exactly one job, waited for."""
        opts.setdefault("BLOCK", 30000)
        jobs = self.fetch(*queues, **opts)
        assert len(jobs) == 1, "wanted one job of %s: %r" % (queues, jobs)
        return jobs[0]

    def done(self, job, *result):
        return self.call("JOB.DONE", job["id"], job["token"], *result)

    def fail(self, job, message="boom", **opts):
        return self.call("JOB.FAIL", job["id"], job["token"], message,
                         *flat_opts(opts))

    def release(self, job, **opts):
        return self.call("JOB.RELEASE", job["id"], job["token"],
                         *flat_opts(opts))

    def get(self, id):
        m = as_map(self.call("JOB.GET", id))
        if m is not None and "errors" in m:
            m["errors"] = [as_map(e) for e in m["errors"] or []]
        return m

    def state(self, id):
        m = self.get(id)
        return m and m["state"]

    def why(self, id):
        return as_map(self.call("JOB.WHY", id))

    def wait(self, id, ms=60000):
        m = as_map(self.call("JOB.WAIT", id, ms))
        if m is not None and "errors" in m:
            m["errors"] = [as_map(e) for e in m["errors"] or []]
        return m

    def finished(self, id, ms=60000):
        """The job once it has ended; fails when it does not."""
        m = self.wait(id, ms)
        assert m is not None, "job %s has not ended: %r, why: %r" % (
            id, self.get(id), self.why(id))
        return m

    def completed(self, id):
        m = self.finished(id)
        assert m["state"] == "completed", m
        return m

    def failed(self, id):
        m = self.finished(id)
        assert m["state"] == "failed", m
        return m

    def stats(self, queue):
        return as_map(self.call("QUEUE.STATS", queue))

    def list(self, queue, state, **opts):
        """(cursor, jobs) of one page."""
        cursor, jobs = self.call("JOB.LIST", queue, state, *flat_opts(opts))
        return cursor, [as_map(j) for j in jobs]

    def list_all(self, queue, state, **opts):
        out, cursor = [], "0"
        while True:
            cursor, jobs = self.list(queue, state, CURSOR=cursor, **opts)
            out += jobs
            if cursor in ("0", 0, None):
                return out

    def parked(self, other, command):
        """Is this command, sent on the other connection before, waiting?"""
        line = [x for x in self.call("CLIENT", "LIST").splitlines()
                if "id=%d " % other.number in x + " "]
        return bool(line) and command.lower() in line[0].lower()

    def errors(self, queue):
        return [as_map(e) for e in self.call("QUEUE.ERRORS", queue)]
