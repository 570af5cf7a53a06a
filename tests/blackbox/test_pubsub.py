# SPDX-License-Identifier: MIT
"""SUBSCRIBE and its kin: as Redis answers, and one with topics over HTTP and
in scripts."""
import shutil
import subprocess
import threading

import pytest

import realredis
from daemon import wait_until
from resp import Client, encode
from web import Events, Web

HTTP = True
SCRIPTS = {"say.lua": """
return {
  queue = "say",
  perform = function(job)
    topic.publish("from.lua", { said = job.data })
  end,
}
"""}

redis = pytest.importorskip("redis")

END = "=end="


@pytest.fixture(scope="module")
def real():
    r = realredis.start()
    yield r
    r.stop()


# a subscribes; what b does is done before a goes on.
SCRIPT = [
    ("a", ["SUBSCRIBE", "x", "y", "x"]), ("b", ["PUBLISH", "x", "hi"]),
    ("b", ["PUBLISH", "z", "nobody"]),
    ("a", ["PSUBSCRIBE", "x*", "h[ab]*", "zz"]), ("b", ["PUBLISH", "x", "two"]),
    ("a", ["PING"]), ("a", ["PING", "q"]), ("a", ["GET", "k"]),
    ("a", ["ping"]), ("a", ["get"]), ("a", ["PUBLISH", "x", "own"]),
    ("b", ["PUBSUB", "NUMSUB", "x", "y", "z"]), ("b", ["PUBSUB", "NUMPAT"]),
    ("b", ["PUBSUB", "CHANNELS", "y*"]), ("b", ["PUBSUB", "OOPS"]),
    ("b", ["PUBSUB", "CHANNELS", "a", "b"]), ("b", ["PUBSUB", "NUMPAT", "q"]),
    ("b", ["PUBSUB", "NUMSUB"]), ("b", ["PUBSUB"]),
    ("a", ["UNSUBSCRIBE", "x", "nope"]), ("a", ["PUNSUBSCRIBE", "zz", "x*"]),
    ("b", ["PUBLISH", "y", "y"]), ("b", ["PUBLISH", "hab", "1"]),
    ("a", ["PUNSUBSCRIBE"]), ("a", ["PUNSUBSCRIBE"]),
    ("a", ["UNSUBSCRIBE"]), ("a", ["UNSUBSCRIBE"]), ("a", ["PING"]),
    # A channel's name is no pattern.
    ("a", ["SUBSCRIBE", "h*", "q?", "b\\c"]), ("b", ["PUBLISH", "hx", "1"]),
    ("b", ["PUBLISH", "h*", "2"]), ("b", ["PUBLISH", "b\\c", "b\r\nc"]),
    ("b", ["PUBSUB", "NUMSUB", "h*", "hx"]),
    ("a", ["RESET"]), ("a", ["PING"]), ("b", ["PUBLISH", "h*", "3"]),
    ("a", ["SUBSCRIBE"]), ("a", ["SUBSCRIBE", END]),
]


def play(address, proto):
    """All that both connections are sent."""
    with realredis.Raw(address, proto) as a, realredis.Raw(address, 2) as b:
        out = []
        # Those of the last test have gone.
        wait_until(lambda: b.call("PUBSUB", "NUMPAT") == 0, "no patterns")
        for who, command in SCRIPT:
            # Its own message comes before Redis' answer, behind ours.
            if proto == 3 and "own" in command:
                continue
            if who == "b":
                out += b.ask([command])
                continue
            a.send_raw(encode(command))
            out.append(drain(a, command))
        b.call("PUBLISH", END, "all")
        while END.encode() + b"\r\n$3\r\nall" not in out[-1]:
            out.append(a.raw())
        return [o for o in out if o]


def drain(a, command):
    """Reads up to the last answer of this command, however many messages
    stand before it."""
    out = b""
    many = "SUBSCRIBE" in command[0]
    want = max(1, len(command) - 1) if many else 1
    while want:
        answer = a.raw()
        out += answer
        want -= b"message\r\n" not in answer
    return out


@pytest.mark.parametrize("proto", [2, 3])
def test_same_bytes(bh, real, proto):
    ours, theirs = play(bh.sock, proto), play(real.sock, proto)
    assert b"".join(ours) == b"".join(theirs)


def test_pubsub_thread(bh):
    r = redis.Redis(unix_socket_path=bh.sock)
    heard, done = [], threading.Event()

    def on_message(m):
        heard.append((m["type"], m["channel"], m["data"]))
        if m["data"] == b"last":
            done.set()

    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe(**{"guest.1": on_message})
    p.psubscribe(**{"room.*": on_message})
    thread = p.run_in_thread(sleep_time=0.05)
    try:
        wait_until(lambda: r.pubsub_numsub("guest.1") == [(b"guest.1", 1)] and
                   r.pubsub_numpat() == 1, "both subscriptions")
        assert r.publish("guest.1", "hello") == 1
        assert r.publish("room.7", b"\xff\r\n") == 1
        assert r.publish("guest.2", "nobody") == 0
        assert r.publish("guest.1", "last") == 1
        assert done.wait(30)
    finally:
        thread.stop()
        thread.join()
        p.close()
    assert heard == [("message", b"guest.1", b"hello"),
                     ("pmessage", b"room.7", b"\xff\r\n"),
                     ("message", b"guest.1", b"last")]
    wait_until(lambda: r.pubsub_numpat() == 0, "the end of the subscription")
    r.close()


def test_many_subscribers_in_order(bh):
    subs = [Client(bh.sock, proto=2) for _ in range(20)]
    for s in subs:
        assert s.call("SUBSCRIBE", "all") == ["subscribe", "all", 1]
    with Client(bh.sock) as c:
        assert set(c.pipe([["PUBLISH", "all", str(i)]
                           for i in range(500)])) == {20}
    for s in subs:
        assert [s.read()[2] for _ in range(500)] == \
            [str(i) for i in range(500)]
        s.close()


def test_publish_in_a_transaction(bh):
    with Client(bh.sock, proto=2) as sub, Client(bh.sock) as c:
        sub.call("SUBSCRIBE", "t")
        assert c.pipe([["MULTI"], ["SET", "k", "1"], ["PUBLISH", "t", "m"],
                       ["EXEC"]])[-1] == ["OK", 1]
        assert sub.read() == ["message", "t", "m"]
        assert c.call("MULTI") == "OK"
        assert c.error("SUBSCRIBE", "a").word == "ERR"
        assert c.error("EXEC").word == "EXECABORT"


def test_who_does_not_read_is_closed(make):
    bh = make(options={"max_output": "1MiB"})
    with Client(bh.sock, proto=2) as slow, Client(bh.sock) as c:
        slow.call("SUBSCRIBE", "flood")
        text = "x" * 100000
        for _ in range(200):
            if c.call("PUBLISH", "flood", text) == 0:
                break
        assert c.call("PUBLISH", "flood", "more") == 0
        assert c.call("PUBSUB", "NUMSUB", "flood") == ["flood", 0]
    wait_until(lambda: "max_output" in bh.err_text(), "a line in the log")


def test_a_push_does_not_wait_for_a_command_that_waits(bh):
    with Client(bh.sock, proto=3) as sub, Client(bh.sock) as c:
        sub.call("SUBSCRIBE", "t3")
        sub.send("BLPOP", "nothing", "0")
        wait_until(lambda: "cmd=BLPOP" in c.call("CLIENT", "LIST"), "BLPOP")
        assert c.call("PUBLISH", "t3", "now") == 1
        assert sub.read() == ["message", "t3", "now"]
        c.call("RPUSH", "nothing", "v")
        assert sub.read() == ["nothing", "v"]


def test_redis_cli(bh):
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed")
    with subprocess.Popen(
            ["redis-cli", "-s", bh.sock, "--csv", "SUBSCRIBE", "cli"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p, \
            Client(bh.sock) as c:
        wait_until(lambda: c.call("PUBLISH", "cli", "hello") == 1,
                   "redis-cli's subscription")
        while "hello" not in (line := p.stdout.readline()):
            assert line
        assert line == '"message","cli","hello"\n'
        p.kill()


def test_channels_are_topics_over_http(bh):
    """PUBLISH reaches a browser, POST reaches a client."""
    with Events(bh, "/v1/topics/guest.9") as stream, Web(bh) as web, \
            Client(bh.sock, proto=2) as sub, Client(bh.sock) as c:
        assert stream.block() == ":"
        sub.call("PSUBSCRIBE", "guest.*")
        assert c.call("PUBSUB", "NUMSUB", "guest.9") == ["guest.9", 1]
        assert c.call("PUBLISH", "guest.9", '{"a":1}') == 2
        assert stream.event()[1]["data"] == {"a": 1}
        assert sub.read() == ["pmessage", "guest.*", "guest.9", '{"a":1}']
        assert web.post("/v1/topics/guest.9", "2").json["receivers"] == 2
        assert sub.read() == ["pmessage", "guest.*", "guest.9", "2"]


def test_a_script_publishes_to_clients(bh):
    with Client(bh.sock, proto=2) as sub, Client(bh.sock) as c:
        sub.call("SUBSCRIBE", "from.lua")
        c.call("JOB.ADD", "say", '"hi"')
        assert sub.read() == ["message", "from.lua", '{"said":"hi"}']
