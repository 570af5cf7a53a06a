# SPDX-License-Identifier: MIT
"""The RESP door: both protocols, inline, pipelines, limits, bad input."""
import random
import socket

import pytest

from daemon import wait_until
from resp import Client, Closed, RespError, as_map, encode

ERROR_WORDS = {"ERR", "BADARG", "NOTFOUND", "CONFLICT", "STALE", "QUEUEFULL",
               "TOOBIG", "DISKFULL", "BACKEND", "NOAUTH", "NOPERM", "BUSY",
               "WRONGPASS", "NOPROTO"}


# Protocols.

def test_ping_echo_select(c):
    assert c.call("PING") == "PONG"
    assert c.call("PING", "héllo") == "héllo"
    assert c.call("ECHO", "x\r\ny\x00") == "x\r\ny\x00"
    assert c.call("SELECT", "0") == "OK"
    assert isinstance(c.error("SELECT", "1"), RespError)
    assert c.call("ping") == "PONG"


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize("proto", [2, 3])
def test_a_job_over_every_way(bh, q, proto, tcp):
    with bh.client(proto, tcp) as c:
        id = c.add(q, "x")
        assert c.get(id)["state"] == "waiting"
        job = c.fetch1(q)
        assert job["id"] == id
        assert c.done(job, "r") == "OK"
        assert c.get(id)["result"] == "r"
        assert c.call("JOB.GET", "123456789012345") is None
        assert c.call("JOB.FETCH", q) is None


def test_maps_are_flat_in_resp2(bh, q):
    with bh.client(proto=2) as two, bh.client(proto=3) as three:
        id = two.add(q, "x")
        flat, whole = two.call("JOB.GET", id), three.call("JOB.GET", id)
        assert isinstance(flat, list) and isinstance(whole, dict)
        assert as_map(flat) == whole
        flat, whole = two.call("QUEUE.STATS", q), three.call("QUEUE.STATS", q)
        assert isinstance(flat, list) and isinstance(whole, dict)
        assert set(as_map(flat)) == set(whole)


def test_nulls_on_the_wire(bh):
    with bh.client(proto=2) as c:
        c.send("JOB.GET", "123456789012345")
        assert c.read_line() == b"$-1"
        c.call("HELLO", 3)
        c.send("JOB.GET", "123456789012345")
        assert c.read_line() == b"_"


def test_hello(bh):
    with bh.client(proto=2) as c:
        two = as_map(c.call("HELLO"))
        assert two["proto"] == 2
        three = c.call("HELLO", 3, "SETNAME", "reception")
        assert isinstance(three, dict)
        assert three["proto"] == 3
        assert three["version"]
        assert c.call("CLIENT", "GETNAME") == "reception"
        assert c.error("HELLO", 4).word == "NOPROTO"
        assert as_map(c.call("HELLO", 2))["proto"] == 2
        assert isinstance(c.call("HELLO"), list)


def test_inline_commands(bh, q):
    with bh.client(proto=2) as c:
        c.send_raw(b"PING\r\n")
        assert c.read() == "PONG"
        c.send_raw(b"  JOB.ADD %s \"two words\"  PRIORITY 1\r\n" % q.encode())
        id = c.read()
        assert c.get(id)["payload"] == "two words"
        c.send_raw(b"PING\n\r\nPING\r\n")
        assert [c.read(), c.read()] == ["PONG", "PONG"]


def test_quit(bh):
    with bh.client(proto=2) as c:
        assert c.call("QUIT") == "OK"
        with pytest.raises(Closed):
            c.read()


# Pipelines.

def test_a_pipeline_is_answered_in_order(bh, c, q):
    """1000 mixed commands at once: fast ones, ones that wait for the disk,
    ones that wait for a read, wrong ones."""
    old = c.add(q + ".old", "z" * 3000)
    rng = random.Random(7)
    commands, checks = [], []
    for n in range(1000):
        kind = rng.randrange(6)
        if kind == 0:
            commands.append(["ECHO", "e%d" % n])
            checks.append(lambda r, n=n: r == "e%d" % n)
        elif kind == 1:
            commands.append(["JOB.ADD", q, "p%d" % n])
            checks.append(lambda r: isinstance(r, str) and r.isdigit())
        elif kind == 2:
            commands.append(["JOB.GET", old])
            checks.append(lambda r: r["id"] == old)
        elif kind == 3:
            commands.append(["JOB.GET", "nonsense%d" % n])
            checks.append(lambda r: isinstance(r, RespError)
                          and r.word == "BADARG")
        elif kind == 4:
            commands.append(["QUEUE.STATS", q])
            checks.append(lambda r: "waiting" in r)
        else:
            commands.append(["NO.SUCH%d" % n])
            checks.append(lambda r, n=n: isinstance(r, RespError)
                          and str(n) in r.line)
    answers = c.pipe(commands)
    for command, answer, check in zip(commands, answers, checks):
        assert check(answer), (command, answer)
    adds = [a for cmd, a in zip(commands, answers) if cmd[0] == "JOB.ADD"]
    assert [int(a) for a in adds] == sorted(int(a) for a in adds)
    assert c.stats(q)["waiting"] == len(adds)


def test_a_pipeline_reads_its_own_writes(c, q):
    r = c.pipe([["JOB.ADD", q, "a"], ["QUEUE.STATS", q],
                ["JOB.FETCH", q, "COUNT", 5], ["QUEUE.STATS", q]])
    assert r[1]["waiting"] == 1
    assert [j["id"] for j in r[2]] == [r[0]]
    assert (r[3]["waiting"], r[3]["active"]) == (0, 1)


def test_another_connection_reads_what_was_acknowledged(bh, c, q):
    with bh.client() as other:
        for n in range(100):
            id = c.add(q, str(n))
            assert other.get(id)["payload"] == str(n)


def test_a_waiting_command_does_not_disturb_the_order(bh, c, q):
    with bh.client() as w:
        w.send_raw(encode(["JOB.FETCH", q, "BLOCK", 0])
                   + encode(["ECHO", "after"]) + encode(["PING"]))
        id = c.add(q, "x")
        assert w.read()[0]["id"] == id
        assert [w.read(), w.read()] == ["after", "PONG"]


def test_bytes_may_come_one_by_one(bh, q):
    with bh.client(proto=2) as c:
        for byte in encode(["JOB.ADD", q, "slow and\r\nsteady"]):
            c.send_raw(bytes([byte]))
        assert c.get(c.read())["payload"] == "slow and\r\nsteady"


# Connection and server commands.

def test_client_commands(bh, c):
    assert c.call("CLIENT", "SETNAME", "desk-1") == "OK"
    assert c.call("CLIENT", "GETNAME") == "desk-1"
    mine = c.call("CLIENT", "ID")
    assert isinstance(mine, int)
    with bh.client() as other:
        assert other.call("CLIENT", "ID") != mine
        other.call("CLIENT", "SETNAME", "desk-2")
        listed = c.call("CLIENT", "LIST")
        assert "name=desk-1" in listed and "name=desk-2" in listed
        assert len([line for line in listed.splitlines() if line]) >= 2
        assert "desk-1" in c.call("CLIENT", "INFO")
    assert c.call("CLIENT", "SETINFO", "LIB-NAME", "tests") == "OK"
    assert c.error("CLIENT", "SETNAME", "no spaces").word in ("ERR", "BADARG")


def test_client_kill(bh, c):
    with bh.client() as other:
        victim = other.call("CLIENT", "ID")
        assert c.call("CLIENT", "KILL", "ID", victim) in (1, "OK")
        with pytest.raises(Closed):
            other.call("PING")


def test_command(c):
    n = c.call("COMMAND", "COUNT")
    table = c.call("COMMAND")
    assert n == len(table) > 30
    names = {row[0].lower() for row in table}
    assert {"ping", "job.add", "job.fetch", "queue.stats"} <= names
    assert all(isinstance(row[1], int) for row in table)
    c.call("COMMAND", "DOCS")


def test_info(c):
    text = c.call("INFO")
    assert "\n" in text and ":" in text
    assert "uptime_in_seconds:" in text
    assert "# " in text
    assert "uptime_in_seconds:" in c.call("INFO", "server")


def test_config_get(c):
    r = as_map(c.call("CONFIG", "GET", "max_payload"))
    assert r["max_payload"] in ("1048576", "1MiB")
    many = as_map(c.call("CONFIG", "GET", "max_*"))
    assert {"max_payload", "max_queues"} <= set(many)
    assert as_map(c.call("CONFIG", "GET", "no_such_option")) == {}


def test_slowlog(c):
    assert isinstance(c.call("SLOWLOG", "LEN"), int)
    assert isinstance(c.call("SLOWLOG", "GET", 10), list)
    assert c.call("SLOWLOG", "RESET") == "OK"
    assert isinstance(c.call("SLOWLOG", "GET"), list)


def test_monitor(bh, c, q):
    with bh.client(proto=2) as m:
        assert m.call("MONITOR") == "OK"
        c.add(q, "seen by the monitor")
        line = m.read()
        while "JOB.ADD" not in line.upper():
            line = m.read()
        assert q in line and "seen by the monitor" in line


def test_monitor_shows_no_secrets(bh, c):
    with bh.client(proto=2) as m:
        assert m.call("MONITOR") == "OK"
        with bh.client() as other:
            other.error("AUTH", "s3cr3t-of-the-house")
        c.call("ECHO", "the end of it")
        lines = []
        while not lines or "the end of it" not in lines[-1]:
            lines.append(m.read())
        assert "s3cr3t" not in "\n".join(lines)


def test_admin_words_need_the_admin(bh, q):
    with bh.client(tcp=True) as c:      # operator
        for command in (["MONITOR"], ["SHUTDOWN"], ["BELLHOP", "RELOAD"],
                        ["BELLHOP", "TOKEN", "LIST"]):
            assert c.error(*command).word == "NOPERM", command
        c.add(q, "x")
        assert c.call("QUEUE.PAUSE", q) == "OK"


# Errors.

@pytest.mark.parametrize("command", [
    ["NOSUCH", "a"], ["JOB.NOSUCH"], ["JOB.ADD"], ["JOB.ADD", "q"],
    ["JOB.GET"], ["JOB.GET", "1", "2"], ["PING", "a", "b"],
    ["JOB.MADD", "q", "x", "y"], ["JOB.FETCH"], ["JOB.FETCH", "q", "COUNT"],
    ["JOB.FETCH", "q", "COUNT", "0"], ["JOB.FETCH", "q", "BLOCK", "-1"],
    ["QUEUE.STATS", "a", "b"], ["CONFIG", "NOSUCH"], ["CLIENT", "NOSUCH"], [""]],
    ids=" ".join)
def test_wrong_commands(c, command):
    e = c.error(*command)
    assert e.word in ERROR_WORDS, e
    assert len(e.text) > 8
    assert "\r" not in e.text and "\n" not in e.text
    assert c.call("PING") == "PONG"


def test_errors_name_the_culprit(c):
    assert "NOSUCH.CMD" in c.error("NOSUCH.CMD", "x").text.upper()
    assert "JOB.ADD" in c.error("JOB.ADD", "q").text.upper()
    # What a client sends cannot break the line of the answer.
    e = c.error("X\r\n+OK\r\n")
    assert e.word == "ERR"
    assert c.call("PING") == "PONG"


def test_wrong_password(bh, c):
    assert c.error("AUTH", "nonsense").word == "WRONGPASS"
    with bh.client(proto=2) as other:
        assert other.error("HELLO", 3, "AUTH", "default",
                           "nonsense").word == "WRONGPASS"
        assert other.call("PING") == "PONG"


# Limits and rubbish.

SMALL = {"max_payload": 1000, "max_arguments": 64, "max_request": 65536,
         "max_pipeline": 50, "max_connections": 8, "max_output": 65536}


@pytest.fixture(scope="module")
def small():
    from daemon import Daemon
    d = Daemon(SMALL)
    try:
        yield d.start()
    finally:
        d.destroy()


def closed_or_error(sock_client):
    """The peer's answers until it closes or says an error."""
    try:
        while True:
            r = sock_client.read()
            if isinstance(r, RespError):
                return r
    except Closed:
        return None


def test_small_payload_limit(small, q):
    with small.client() as c:
        assert c.error("JOB.ADD", q, "x" * 1001).word == "TOOBIG"
        assert c.add(q, "x" * 1000)
        c.fetch1(q)


@pytest.mark.parametrize("data", [
    b"*65\r\n" + b"$1\r\nx\r\n" * 65,
    b"*1000000000\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$70000\r\n" + b"x" * 70000 + b"\r\n",
    b"*2\r\n$4\r\nECHO\r\n$1073741824\r\n",
    b"*-5\r\n*x\r\n",
    b"*1\r\n$-4\r\nPING\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n:5\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"x" * 200000,
    b"\"unbalanced\r\n",
], ids=lambda d: repr(d[:24]))
def test_broken_or_oversized_input_ends_with_an_error(small, data):
    with Client(small.sock, proto=2) as c:
        try:
            c.send_raw(data)
            c.sock.shutdown(socket.SHUT_WR)
        except (Closed, OSError):
            pass
        r = closed_or_error(c)
        assert r is None or r.word in ERROR_WORDS
    with small.client() as c:
        assert c.call("PING") == "PONG"


def test_random_bytes(small):
    rng = random.Random(42)
    for n in range(60):
        with Client(small.sock, proto=2) as c:
            data = bytes(rng.choice(b"*$:+-_#\r\n0123456789PINGx\x00\xff")
                         for _ in range(rng.randrange(1, 400)))
            try:
                c.send_raw(data)
                c.sock.shutdown(socket.SHUT_WR)
                while True:
                    c.read_line()
            except (Closed, OSError):
                pass
    with small.client() as c:
        assert c.call("PING") == "PONG"


def test_a_pipeline_over_the_limit(small):
    """Slowed down or refused, but nothing out of order and nobody hurt."""
    with small.client(proto=2) as c:
        c.send_raw(b"".join(encode(["ECHO", n]) for n in range(2000)))
        try:
            for n in range(2000):
                r = c.read()
                if isinstance(r, RespError):
                    break
                assert r == str(n)
        except Closed:
            pass
    with small.client() as c:
        assert c.call("PING") == "PONG"


def test_a_reader_that_does_not_read(small, q):
    """Its unread answers are bounded: the others go on."""
    with small.client() as c:
        id = c.add(q, "x" * 1000)
        lazy = small.client(proto=2)
        lazy.sock.settimeout(1)
        try:
            for _ in range(100000):
                lazy.send_raw(encode(["JOB.GET", id]))
        except (Closed, OSError):
            pass
        assert c.call("PING") == "PONG"
        lazy.close()
        c.fetch1(q)


def test_too_many_connections(small):
    # One that stays, so that counting is no connection that still closes.
    first = small.client()
    wait_until(lambda: len(first.call("CLIENT", "LIST").splitlines()) == 1,
               "the end of the earlier tests' connections")
    clients = [first] + [small.client(proto=2) for _ in range(7)]
    assert all(c.call("PING") == "PONG" for c in clients)
    extra = None
    try:
        extra = Client(small.sock, proto=2)
        r = extra.error("PING")
        assert "connections" in r.text or "clients" in r.text
    except Closed:
        pass
    finally:
        if extra:
            extra.close()
    assert all(c.call("PING") == "PONG" for c in clients)
    for c in clients:
        c.close()

    def room():
        try:
            with small.client() as c:
                return c.call("PING") == "PONG"
        except (Closed, RespError):
            return False
    wait_until(room, "room for one more")


def test_idle_and_half_open_connections_do_no_harm(bh, c):
    half = []
    for data in (b"", b"*", b"*3\r\n$7\r\nJOB.ADD\r\n$1", b"PIN"):
        h = Client(bh.sock, proto=2)
        h.send_raw(data)
        half.append(h)
    assert c.call("PING") == "PONG"
    for h in half:
        h.close()
    assert c.call("PING") == "PONG"
