# SPDX-License-Identifier: MIT
"""CLIENT UNBLOCK, KILL and LIST by type, as in Redis."""
import pytest

import realredis
from daemon import wait_until
from resp import Client


@pytest.fixture(scope="module")
def real():
    server = realredis.start()
    yield server
    server.stop()


def waits(c, id, word):
    wait_until(lambda: "cmd=" + word in
               c.call("CLIENT", "LIST", "ID", str(id)).lower(), "the wait")


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("how", [[], ["TIMEOUT"], ["error"]])
@pytest.mark.parametrize("words", [
    ["BLPOP", "none", "0"], ["BLMOVE", "none", "n", "LEFT", "LEFT", "0"],
    ["BRPOPLPUSH", "none", "n", "0"], ["BLMPOP", "0", "1", "none", "LEFT"],
    ["XREAD", "BLOCK", "0", "STREAMS", "none", "$"]])
def test_unblock(bh, real, proto, how, words):
    answers = []
    for address in (bh.sock, real.sock):
        with realredis.Raw(address, proto) as a, Client(address) as c:
            id = a.call("CLIENT", "ID")
            a.begin([words])
            waits(c, id, words[0].lower())
            assert c.call("CLIENT", "UNBLOCK", str(id), *how) == 1
            answer = a.raw()
            # It does not wait any more, and goes on.
            assert c.call("CLIENT", "UNBLOCK", str(id), *how) == 0
            answers.append(answer + a.ask([["PING"]])[0])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("words", [
    ["UNBLOCK", "99999"], ["UNBLOCK", "x"], ["UNBLOCK", "1", "WHY"],
    ["UNBLOCK"], ["UNBLOCK", "1", "ERROR", "x"], ["KILL", "TYPE", "foo"],
    ["KILL", "TYPE", "pubsub"], ["KILL", "LADDR", "1.2.3.4:5"],
    ["KILL", "ID", "99999"], ["KILL", "1.2.3.4:5"], ["LIST", "TYPE", "foo"],
    ["NO-EVICT", "ON"], ["NO-EVICT"], ["TRACKING", "OFF"]])
def test_same_answers(bh, real, words):
    with realredis.Raw(bh.sock, 2) as a, realredis.Raw(real.sock, 2) as b:
        assert a.ask([["CLIENT"] + words]) == b.ask([["CLIENT"] + words])


def test_by_type(bh):
    with Client(bh.sock, proto=2) as sub, Client(bh.sock) as c:
        me = c.call("CLIENT", "ID")
        sub.call("SUBSCRIBE", "a")
        sub.call("PSUBSCRIBE", "b*")
        line, = c.call("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
        assert " sub=1 psub=1 " in line and " flags=P " in line
        assert "id=%d " % me in c.call("CLIENT", "LIST", "TYPE", "normal")
        assert c.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
        wait_until(lambda: c.call("PUBLISH", "a", "x") == 0, "its end")
        assert c.call("PING") == "PONG"


def test_tracking_is_refused_by_name(c):
    assert "CLIENT TRACKING is not supported" in str(
        c.error("CLIENT", "TRACKING", "ON").text)
