# SPDX-License-Identifier: MIT
"""What a service manager hears on $NOTIFY_SOCKET, and the log's own form
under a journal."""
import os
import select
import signal
import socket
import subprocess
import time

import pytest

from daemon import PATIENCE, find_binary, wait_until

HANG = """
return {
  queue = "hang", attempts = 1,
  perform = function()
    string.find(("a"):rep(34), ("a?"):rep(34) .. ("a"):rep(34))
  end,
}
"""


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, directory):
        self.path = os.path.join(str(directory), "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []

    def listen(self, seconds=0.0):
        """All that has come, as lines."""
        until = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(until - time.monotonic(), 0.01))
            try:
                text = self.socket.recv(65536).decode()
            except TimeoutError:
                return self.heard
            self.heard += text.split("\n")

    def wait(self, line):
        """Until there is a line that begins so, which is taken."""
        wait_until(lambda: any(x.startswith(line) for x in self.listen()),
                   "%s among %s" % (line, self.heard))
        at = next(i for i, x in enumerate(self.heard) if x.startswith(line))
        found = self.heard[at]
        del self.heard[:at + 1]
        return found


@pytest.fixture
def manager(tmp_path):
    m = Manager(tmp_path)
    yield m
    m.socket.close()


def test_ready_reload_stop(make, manager):
    d = make(env={"NOTIFY_SOCKET": manager.path})
    manager.wait("READY=1")
    assert "0 jobs waiting" in manager.wait("STATUS=")
    d.client().add("q", "x")
    d.signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("MONOTONIC_USEC=")
    manager.wait("READY=1")
    assert "1 jobs waiting" in manager.wait("STATUS=")
    d.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    manager.wait("EXTEND_TIMEOUT_USEC=")
    assert d.wait_exit() == 0


def test_a_bad_reload_is_ready_too(make, manager):
    d = make(env={"NOTIFY_SOCKET": manager.path})
    manager.wait("READY=1")
    d.write_script("bad.lua", "return {")
    d.signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1")


def test_signs_of_life(make, manager):
    make(env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "300000"})
    for _ in range(4):
        manager.wait("WATCHDOG=1")


def test_no_watchdog_no_signs(make, manager):
    make(env={"NOTIFY_SOCKET": manager.path})
    manager.wait("READY=1")
    assert "WATCHDOG=1" not in manager.listen(0.5)


def test_a_hung_thread_gives_no_sign(make, manager):
    d = make({"script_cpu": "1h", "script_threads": 1},
             scripts={"hang.lua": HANG},
             env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"})
    c = d.client()
    manager.wait("WATCHDOG=1")
    c.add("hang", "x")
    wait_until(lambda: c.stats("hang")["active"] == 1, "the handler")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        del manager.heard[:]
        manager.listen(1.5)
        # The rest of the daemon is as lively as ever.
        assert c.call("PING") == "PONG"
        if "WATCHDOG=1" not in manager.heard:
            break
    else:
        pytest.fail("signs of life of a hung thread")
    d.kill9()


@pytest.mark.embedded("the first line is another")
def test_under_a_journal_lines_have_a_priority_and_no_time(make):
    """Where the journal has no socket for records, its stream takes lines."""
    d = make()
    d.stop()
    read, write = os.pipe()
    st = os.fstat(write)
    env = dict(os.environ, JOURNAL_STREAM="%d:%d" % (st.st_dev, st.st_ino))
    p = subprocess.Popen([find_binary("bellhopd"), "--config", d.conf], stderr=write,
                         env=env)
    os.close(write)
    with os.fdopen(read) as f:
        line = f.readline()
        p.terminate()
        rest = f.read()
    assert p.wait() == 0
    if os.path.exists("/run/systemd/journal/socket"):
        assert line == "" and rest == ""
    else:
        assert line.startswith("<6>listening on ")
        assert "<6>stopped" in rest


# --- idle_exit ----------------------------------------------------------------

LOG = """
return { queue = "log", perform = function(job) log.info("at work") end }
"""


@pytest.fixture
def make_held(make):
    """Daemons that get their sockets from outside and end when idle."""
    made = []

    def maker(idle="200ms", **kw):
        d = make({"idle_exit": idle}, start=False, **kw)
        d.hold_sockets()
        made.append(d)
        return d.start()

    yield maker
    for d in made:
        for _, s in d.held:
            s.close()


def ended_idle(d):
    assert d.wait_exit() == 0
    assert "(idle_exit)" in d.err_text()
    return d


@pytest.mark.embedded("idle_exit")
def test_an_idle_daemon_ends_and_the_next_client_is_served(make_held):
    d = ended_idle(make_held(http=True))
    # It waits in the backlog, which is what starts the daemon.
    with socket.create_connection(("127.0.0.1", d.http_port)) as web:
        web.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert select.select([s for _, s in d.held], [], [], PATIENCE)[0]
        d.start()
        assert web.recv(12) == b"HTTP/1.1 200"
    ended_idle(d)


@pytest.mark.embedded("idle_exit")
def test_a_client_keeps_it(make_held):
    d = make_held(http=True)
    c = d.client()
    # Far beyond the 200 ms.
    time.sleep(1)
    assert c.call("PING") == "PONG"
    c.close()
    ended_idle(d)


@pytest.mark.embedded("idle_exit")
def test_a_delayed_job_keeps_it_until_it_has_run(make_held):
    d = make_held(scripts={"log.lua": LOG})
    with d.client() as c:
        job = c.add("log", "x", DELAY=1500)
    ended_idle(d)
    d.start()
    assert d.client().state(job) == "completed"


@pytest.mark.embedded("idle_exit")
def test_a_delayed_job_without_handler_keeps_it_until_due(make_held):
    d = make_held()
    with d.client() as c:
        job = c.add("later", "x", DELAY=1500)
        due = c.get(job)["run_at"]
    ended_idle(d)
    assert time.time() * 1000 >= due


@pytest.mark.embedded("idle_exit")
def test_a_job_of_an_outside_worker_keeps_it(make_held):
    d = make_held()
    with d.client() as c:
        c.add("q", "x", MAX_STALLED=1)
        job = c.fetch1("q", LEASE=1500)
    # The lease has to end first; then nobody serves the queue.
    ended_idle(d)
    d.start()
    assert d.client().get(job["id"])["stalled"] == 1


@pytest.mark.embedded("idle_exit")
def test_a_schedule_keeps_it(make_held):
    d = make_held(idle="50ms", scripts={"log.lua": LOG})
    with d.client() as c:
        c.call("SCHEDULE.SET", "tick", "log", "x", "EVERY", 400)
    wait_until(lambda: d.err_text().count("at work") >= 3, "three ticks")
    with d.client() as c:
        c.call("SCHEDULE.DEL", "tick")
    ended_idle(d)


@pytest.mark.embedded("idle_exit")
def test_what_waits_for_somebody_does_not_keep_it(make_held):
    d = make_held(scripts={"log.lua": LOG})
    with d.client() as c:
        c.call("QUEUE.PAUSE", "log")
        c.add("log", "x")
        c.add("nobody", "x")
    ended_idle(d)


@pytest.mark.embedded("idle_exit")
def test_a_held_queue_keeps_it(make_held):
    d = make_held(scripts={"log.lua": LOG})
    with d.client() as c:
        c.call("QUEUE.HOLD", "log", 1500)
        job = c.add("log", "x")
    ended_idle(d)
    d.start()
    assert d.client().state(job) == "completed"


@pytest.mark.embedded("idle_exit")
def test_idle_exit_is_taken_by_a_reload(make_held):
    d = make_held(idle="0s")
    d.write_config({"idle_exit": "100ms"})
    d.signal(signal.SIGHUP)
    ended_idle(d)


def test_idle_exit_needs_inherited_sockets(make):
    d = make({"idle_exit": "50ms"})
    assert d.err_text().count("idle_exit has no effect") == 1
    d.reload_ok()
    time.sleep(0.5)
    assert d.client().call("PING") == "PONG"
    assert d.err_text().count("idle_exit has no effect") == 1
