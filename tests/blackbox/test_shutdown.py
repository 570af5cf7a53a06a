# SPDX-License-Identifier: MIT
"""SIGTERM drains, a second one ends at once, SHUTDOWN is the same."""
import signal
import socket
import time
import urllib.request

import pytest

from daemon import wait_until
from resp import Closed, RespError

SLEEPER = """
return {
  queue = "sleeper", concurrency = 50, attempts = 3,
  perform = function(job)
    queue.add("began", { job = job.id })
    sleep(job.data)
    return "slept"
  end,
}
"""


def begun(c, id):
    wait_until(lambda: c.state(id) == "active", "the handler")
    job = c.fetch1("began")
    c.done(job)


def test_an_idle_daemon_ends_with_0(make):
    d = make()
    d.stop()
    assert "bug" not in d.err_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_handler_at_work_finishes(make, number):
    d = make({"shutdown_grace": "30s"}, scripts={"s.lua": SLEEPER})
    c = d.client()
    id = c.add("sleeper", '"700ms"')
    begun(c, id)
    d.signal(number)
    assert d.wait_exit() == 0
    d.start()
    job = d.client().get(id)
    assert job["state"] == "completed"
    assert job["result"] == '"slept"'
    assert job["attempt"] == 1


def test_no_new_job_is_started(make):
    d = make({"shutdown_grace": "30s"}, scripts={"s.lua": SLEEPER})
    c = d.client()
    id = c.add("sleeper", '"600ms"', GROUP="g")
    second = c.add("sleeper", '"0s"', GROUP="g")
    begun(c, id)
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    # Without handlers, what they left can be looked at.
    d.remove_script("s.lua")
    d.start()
    c = d.client()
    assert c.state(id) == "completed"
    job = c.get(second)
    assert (job["state"], job.get("attempt", 0)) == ("waiting", 0)


def test_handlers_beyond_the_grace_are_given_back(make):
    d = make({"shutdown_grace": "300ms"}, scripts={"s.lua": SLEEPER})
    c = d.client()
    id = c.add("sleeper", '"60s"')
    begun(c, id)
    start = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait_exit() == 0
    assert time.monotonic() - start < 25
    d.remove_script("s.lua")
    d.start()
    job = d.client().get(id)
    assert job["state"] == "waiting"
    # The start is given back: no attempt, no error, no lost lease.
    assert job.get("attempt", 0) == 0
    assert job.get("error_count", 0) == 0
    assert job.get("stalled", 0) == 0


def test_a_second_sigterm_ends_at_once(make):
    d = make({"shutdown_grace": "10m"}, scripts={"s.lua": SLEEPER})
    c = d.client()
    id = c.add("sleeper", '"5m"')
    begun(c, id)
    d.signal(signal.SIGTERM)
    wait_until(lambda: "BUSY" in str(probe(c)), "the drain")
    start = time.monotonic()
    d.signal(signal.SIGTERM)
    d.wait_exit()
    assert time.monotonic() - start < 20
    d.remove_script("s.lua")
    d.start()
    assert d.client().get(id) is not None


def probe(c):
    """What a persistent connection hears when it wants new work stored."""
    try:
        return c.pipe([["JOB.ADD", "probe", "x"]])[0]
    except Closed:
        return "BUSY (closed)"


def test_parked_calls_are_answered_busy(make):
    d = make({"shutdown_grace": "30s"}, scripts={"s.lua": SLEEPER})
    c = d.client()
    waiting, fetching = d.client(), d.client()
    unborn = c.add("nobody", "x")
    fetching.send("JOB.FETCH", "empty", "BLOCK", 0)
    waiting.send("JOB.WAIT", unborn, 0)
    wait_until(lambda: c.parked(fetching, "JOB.FETCH")
               and c.parked(waiting, "JOB.WAIT"), "the parked calls")
    d.signal(signal.SIGTERM)
    for other in (fetching, waiting):
        r = other.read()
        assert isinstance(r, RespError) and r.word == "BUSY", r
    assert d.wait_exit() == 0


def test_every_request_received_is_answered(make):
    """What is acknowledged is there, what was pipelined is acknowledged or
    refused, and the answers are complete."""
    d = make()
    c = d.client(proto=2)
    commands = 3000
    for n in range(commands):
        c.send("JOB.ADD", "q", "p%d" % n)
    # The daemon is somewhere in the middle.
    first = c.read()
    assert first.isdigit()
    d.signal(signal.SIGTERM)
    acked = [first]
    try:
        for _ in range(commands - 1):
            r = c.read()
            if isinstance(r, RespError):
                assert r.word == "BUSY", r
            else:
                acked.append(r)
        assert isinstance(c.pipe([["PING"]])[0], RespError)
    except Closed as e:
        assert "0 bytes" in str(e) or "unread" not in str(e), e
    assert d.wait_exit() == 0
    d.start()
    c = d.client()
    stored = {j["id"] for j in c.list_all("q", "waiting", COUNT=1000)}
    assert set(acked) <= stored


def test_shutdown_command(make):
    d = make()
    c = d.client()
    id = c.add("q", "x")
    c.send("SHUTDOWN")
    try:
        r = c.read()
        assert not isinstance(r, RespError), r
    except Closed:
        pass
    assert d.wait_exit() == 0
    d.start()
    assert d.client().state(id) == "waiting"


def test_stop_and_start_again_and_again(make):
    d = make()
    ids = []
    for _ in range(5):
        ids.append(d.client().add("q", "x"))
        d.restart()
    assert [j["id"] for j in d.client().list_all("q", "waiting")] == ids


def test_outside_work_survives_a_clean_stop(make):
    d = make()
    c = d.client()
    id = c.add("q", "x")
    job = c.fetch1("q", LEASE=60000)
    d.restart()
    c = d.client()
    assert c.state(id) == "active"
    assert c.done(job, "r") == "OK"


def test_who_has_just_come_is_answered(make):
    """A client whose connection was accepted right before the SIGTERM, and who
    has not sent anything yet, could not know: it is served."""
    d = make(http=True)
    with socket.create_connection(("127.0.0.1", d.port)) as resp, \
            socket.create_connection(("127.0.0.1", d.http_port)) as http:
        # Both are accepted once a later one has been answered.
        d.client().call("PING")
        with urllib.request.urlopen(
                "http://127.0.0.1:%d/healthz" % d.http_port):
            pass
        d.signal(signal.SIGTERM)
        resp.sendall(b"JOB.ADD q x\r\n")
        http.sendall(b"POST /v1/queues/q/jobs HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: 1\r\n\r\ny")
        assert resp.makefile("rb").readline().startswith(b"$")
        assert http.makefile("rb").readline().startswith(b"HTTP/1.1 202 ")
    assert d.wait_exit() == 0
    d.start()
    assert d.client().stats("q")["waiting"] == 2
