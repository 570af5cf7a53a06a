# SPDX-License-Identifier: MIT
"""exec() in Lua handlers: what may run, what it sees, how it ends."""
import json
import os

from daemon import wait_until
from lua import run, script

OPTIONS = {"exec_allow": ["/bin/sh", "/bin/cat", "/usr/bin/env",
                          "/no/such/program"], "max_result": "2MiB"}

SCRIPTS = {
    "run.lua": script("run", """
    local d = job.data
    local ok, r = pcall(exec, d.path, d.args, d.opts)
    return ok and r or { error = r }
""", "concurrency = 50,"),
    "short.lua": script("short", "exec('/bin/sh', { '-c', job.data })",
                        "timeout = '400ms', attempts = 1,"),
    "long.lua": script("long", "exec('/bin/sh', { '-c', job.data })"),
}


def sh(c, text, **opts):
    return run(c, "run", json.dumps({
        "path": "/bin/sh", "args": ["-c", text], "opts": opts}))


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            return f.read().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_pids(path, n):
    """The numbers in a file, once there are n."""
    def look():
        if not os.path.exists(path):
            return None
        with open(path, encoding="ascii") as f:
            text = f.read()
        pids = [int(x) for x in text.split()]
        return pids if text.endswith("\n") and len(pids) == n else None
    return wait_until(look, "%d process numbers" % n)


def test_output_status_and_signal_come_back(c):
    assert sh(c, "echo out; echo err >&2; exit 3") == {
        "status": 3, "stdout": "out\n", "stderr": "err\n"}
    assert sh(c, "kill -TERM $$") == {
        "signal": 15, "stdout": "", "stderr": ""}
    assert sh(c, "exit 0")["status"] == 0


def test_arguments_are_no_shells_business(c):
    r = run(c, "run", json.dumps({
        "path": "/bin/sh", "args": ["-c", 'printf "%s|" "$@"', "x", "a b",
                                    "$(id)", "*", "", 7]}))
    assert r["stdout"] == "a b|$(id)|*||7|"


def test_input_is_written_whatever_its_size(c):
    text = "0123456789abcdef" * 40000
    r = run(c, "run", json.dumps({"path": "/bin/cat",
                                  "opts": {"stdin": text}}))
    assert r["stdout"] == text
    # One that does not read harms nobody.
    assert sh(c, "exit 5", stdin=text)["status"] == 5
    assert run(c, "run", json.dumps({"path": "/bin/cat"}))["stdout"] == ""


def test_the_surroundings_are_few(bh, c):
    r = run(c, "run", json.dumps({"path": "/usr/bin/env",
                                  "opts": {"env": {"WHO": "Ana"}}}))
    names = {line.split("=")[0] for line in r["stdout"].splitlines()}
    assert names == {"PATH", "LANG", "HOME", "WHO"}
    assert sh(c, "pwd")["stdout"] == bh.state + "\n"
    # Nothing of the daemon's is open in it.
    fds = sh(c, "ls /proc/$$/fd")["stdout"].split()
    assert set(fds) <= {"0", "1", "2"}
    masks = sh(c, "exec grep Sig[BI] /proc/self/status")["stdout"].split()
    assert masks[::2] == ["SigBlk:", "SigIgn:"]
    # Signals 32 and 33 are the C library's own.
    assert not any(int(m, 16) & ~(3 << 31) for m in masks[1::2]), masks


def test_only_what_the_list_allows(c):
    def error(path, **kw):
        return run(c, "run", json.dumps(dict(kw, path=path)))["error"]
    assert "exec: '/bin/ls' is not in exec_allow" in error("/bin/ls")
    assert "'sh' is no absolute path" in error("sh")
    assert "/bin/../bin/sh' is not in exec_allow" in error("/bin/../bin/sh")
    assert "exec /no/such/program: it cannot be started: No such file" in \
        error("/no/such/program")
    assert "unknown option 'cwd'" in error("/bin/sh", opts={"cwd": "/"})
    assert "'LD_PRELOAD' is refused" in \
        error("/bin/sh", opts={"env": {"LD_PRELOAD": "x"}})
    assert "an argument must be a string" in error("/bin/sh", args=[{}])


def test_too_much_output_ends_it(c):
    r = sh(c, "while :; do echo 0123456789012345678901234567890; done")
    assert "more than 1048576 bytes on its standard output" in r["error"]
    r = sh(c, "echo 123456 >&2", max_output=4)
    assert "more than 4 bytes on its standard error" in r["error"]
    assert len(sh(c, "head -c 1030000 /dev/zero | tr '\\0' x",
                  max_output="2MiB")["stdout"]) == 1030000


def test_its_timeout_kills_the_whole_group(bh, c):
    path = os.path.join(bh.root, "pids1")
    r = sh(c, "sleep 600 & echo $$ $! > %s; wait" % path, timeout="300ms")
    assert "exec /bin/sh: timeout after 300 ms" in r["error"]
    for pid in read_pids(path, 2):
        wait_until(lambda p=pid: not alive(p), "the end of %d" % pid)


def test_what_is_left_behind_holds_up_nobody(bh, c):
    path = os.path.join(bh.root, "pids2")
    r = sh(c, "sleep 600 & echo $! > %s; echo done" % path)
    assert r == {"status": 0, "stdout": "done\n", "stderr": ""}
    for pid in read_pids(path, 1):
        wait_until(lambda p=pid: not alive(p), "the end of %d" % pid)


def test_the_end_of_the_run_is_its_end(bh, c):
    path = os.path.join(bh.root, "pids3")
    job = c.add("short", json.dumps(
        "sleep 600 & echo $$ $! > %s; wait" % path))
    assert c.failed(job)["error"] == "timeout after 400 ms"
    for pid in read_pids(path, 2):
        wait_until(lambda p=pid: not alive(p), "the end of %d" % pid)


def test_a_stopping_daemon_leaves_no_program(make):
    d = make({"exec_allow": ["/bin/sh"], "shutdown_grace": "100ms"},
             scripts={"long.lua": SCRIPTS["long.lua"]})
    path = os.path.join(d.root, "pids")
    with d.client() as c:
        c.add("long", json.dumps("sleep 600 & echo $$ $! > %s; wait" % path))
        pids = read_pids(path, 2)
    d.stop()
    for pid in pids:
        wait_until(lambda p=pid: not alive(p), "the end of %d" % pid)


def test_many_at_once(c):
    jobs = [c.add("run", json.dumps({
        "path": "/bin/sh", "args": ["-c", "echo %d" % i]}))
        for i in range(100)]
    for i, job in enumerate(jobs):
        assert json.loads(c.completed(job)["result"])["stdout"] == "%d\n" % i
