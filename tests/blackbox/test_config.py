# SPDX-License-Identifier: MIT
"""Configuration, access, and every refusal to start."""
import os
import re
import signal
import socket
import sqlite3
import subprocess

import pytest

from daemon import Daemon, find_binary, free_port, wait_until
from resp import Client, RespError, as_map

# --check.


def test_check_accepts_a_good_file(make):
    d = make({"durability": "relaxed", "max_payload": 4096,
              "shutdown_grace": "5s"}, start=False, config="""
queues = (
  { name = "critical"; weight = 6; strict = true; },
  { name = "outbound.*"; rate = { limit = 80; per = "60s"; burst = 20;
    by = "group"; }; group_concurrency = 2; group_order = "skip"; },
  { name = "low"; max_active = 4; max_waiting = 1000; dead_letter = "morgue";
    retention = { completed = "1h"; completed_count = 10; failed = "7d";
    failed_count = 100; }; }
);
config = { url = "http://pms"; n = 5; };
""")
    r = d.check_config()
    assert r.status == 0, r
    assert not os.path.exists(d.db)


BAD = [
    ('max_payloadd = 5;', "max_payloadd"),
    ('max_payload = "x";', "max_payload"),
    ('max_payload = 0;', "max_payload"),
    ('max_payload = 99999999999L;', "max_payload"),
    ('max_queues = "many";', "max_queues"),
    ('durability = "sometimes";', "sometimes"),
    ('loopback_role = "king";', "king"),
    ('log_level = "loud";', "loud"),
    ('shutdown_grace = "soon";', "shutdown_grace"),
    ('script_cpu = "-1s";', "script_cpu"),
    ('plugins = "http";', "plugins"),
    ('queues = ( { weight = 6; } );', "name"),
    ('queues = ( { name = "a"; wait = 6; } );', "wait"),
    ('queues = ( { name = "a"; weight = -1; } );', "weight"),
    ('queues = ( { name = "a b"; } );', "a b"),
    ('queues = ( { name = "a"; rate = { limit = 5; }; } );', "per"),
    ('queues = ( { name = "a"; rate = { per = "1s"; }; } );', "limit"),
    ('queues = ( { name = "a"; group_order = "loose"; } );', "loose"),
    ('queues = ( { name = "a"; strict = "yes"; } );', "strict"),
    ('queues = ( { name = "a"; dead_letter = "a b"; } );', "dead_letter"),
    ('queues = { name = "a"; };', "queues"),
    ('max_payload = ;', ""),
]


@pytest.mark.embedded("bellhop.db, plugin_dir")
@pytest.mark.parametrize("line, named", BAD, ids=[b[0] for b in BAD])
def test_check_names_file_line_and_cause(make, line, named):
    d = make(start=False)
    good = d.config_text().rstrip("\n").count("\n") + 1
    with open(d.conf, "w", encoding="utf-8") as f:
        f.write(d.config_text().rstrip("\n") + "\n" + line + "\n")
    r = d.check_config()
    assert r.status not in (0, None) and r.status > 0
    words = r.err + r.out
    m = re.search(re.escape(d.conf) + r":(\d+): (.+)", words)
    assert m, words
    # A missing part may be told at its group's end.
    assert int(m.group(1)) in (good + 1, good + 2), words
    assert named in words
    # And it does not start.
    status, err = d.refused()
    assert named in err and d.conf in err


def test_check_tells_every_error(make):
    d = make(start=False)
    with open(d.conf, "a", encoding="utf-8") as f:
        f.write('wrong_one = 1;\nmax_queues = "x";\n')
    r = d.check_config()
    assert "wrong_one" in r.err + r.out
    assert "max_queues" in r.err + r.out


def test_no_such_configuration(make):
    d = make(start=False)
    r = d.check_config(d.root + "/nowhere.conf")
    assert r.status > 0
    assert "nowhere.conf" in r.err


def test_version_and_usage():
    p = subprocess.run([find_binary("bellhopd"), "--version"],
                       capture_output=True, text=True, timeout=60, check=True)
    assert re.search(r"\d+\.\d+", p.stdout)
    p = subprocess.run([find_binary("bellhopd"), "--nonsense"],
                       capture_output=True, text=True, timeout=60,
                       check=False)
    assert p.returncode > 0
    assert "nonsense" in p.stderr


@pytest.mark.embedded("bellhop.db, plugin_dir")
def test_state_dir_on_the_command_line(make):
    d = make(start=False)
    other = os.path.join(d.root, "elsewhere")
    os.mkdir(other)
    d.start("--state-dir", other)
    d.client().add("q", "x")
    d.stop()
    assert os.path.exists(os.path.join(other, "bellhop.db"))
    assert not os.path.exists(d.db)


# Reload.

def test_a_reload_takes_what_can_be_reloaded(make):
    d = make({"max_payload": 1000})
    c = d.client()
    assert c.error("JOB.ADD", "q", "x" * 2000).word == "TOOBIG"
    d.write_config({"max_payload": 3000})
    d.reload_ok()
    assert c.add("q", "x" * 2000)
    d.write_config({"max_payload": 1000})
    d.signal(signal.SIGHUP)
    wait_until(lambda: as_map(c.call("CONFIG", "GET", "max_payload"))
               ["max_payload"] in ("1000", "1000B"), "the reload")
    assert c.error("JOB.ADD", "q", "x" * 2000).word == "TOOBIG"


def test_a_bad_configuration_keeps_the_old_one(make):
    d = make({"max_payload": 1000})
    c = d.client()
    d.write_config({"max_payload": 3000}, config="no_such_option = 1;")
    r = d.reload()
    assert isinstance(r, RespError)
    assert "no_such_option" in r.line and d.conf + ":" in r.line
    ctl = d.ctl("reload")
    assert ctl.status == 1
    assert "no_such_option" in ctl.err + ctl.out
    assert c.error("JOB.ADD", "q", "x" * 2000).word == "TOOBIG"
    d.write_config(config="")
    d.reload_ok()
    assert c.add("q", "x" * 2000)


def test_what_needs_a_restart_is_told(make):
    d = make()
    d.write_config({"durability": "relaxed"})
    d.reload()
    wait_until(lambda: "durability" in d.err_text(), "the log line")


# Access.

def token(d, name, role, *patterns):
    """Adds a token over the unix socket; its secret."""
    with d.client() as c:
        r = c.call("BELLHOP", "TOKEN", "ADD", name, role, *patterns)
    if isinstance(r, dict):
        r = r.get("token") or r.get("secret")
    return r


def loopback(d, secret=None, name=None):
    c = d.client(proto=2, tcp=True)
    if secret:
        assert c.call("AUTH", *([name] if name else []), secret) == "OK"
    c.call("HELLO", 3)
    return c


def test_it_does_not_listen_beyond_loopback_without_a_token(make):
    d = make(start=False)
    d.listen = ["unix:" + d.sock, "0.0.0.0:%d" % d.port]
    d.write_config()
    status, err = d.refused()
    assert "token" in err
    assert "0.0.0.0" in err
    d.listen = None
    d.write_config()
    d.start()
    secret = token(d, "pos", "producer")
    d.stop()
    d.listen = ["unix:" + d.sock, "0.0.0.0:%d" % d.port]
    d.write_config()
    d.start()
    assert loopback(d, secret).add("q", "x")


def test_loopback_role_none_wants_a_token(make):
    d = make({"loopback_role": "none"})
    secret = token(d, "pos", "producer")
    with d.client(proto=2, tcp=True) as c:
        for command in (["JOB.ADD", "q", "x"], ["JOB.GET", "1"],
                        ["QUEUE.LIST"], ["INFO"]):
            assert c.error(*command).word == "NOAUTH", command
        assert c.error("HELLO", 3).word == "NOAUTH"
        assert c.error("AUTH", secret + "x").word == "WRONGPASS"
        assert c.error("AUTH", secret[:-1]).word == "WRONGPASS"
        assert c.error("JOB.ADD", "q", "x").word == "NOAUTH"
        assert c.call("AUTH", secret) == "OK"
        assert c.call("JOB.ADD", "q", "x")
    with d.client(proto=2, tcp=True) as c:
        assert c.call("AUTH", "pos", secret) == "OK"
    with d.client(proto=2, tcp=True) as c:
        assert c.call("HELLO", 3, "AUTH", "pos", secret)["proto"] == 3
        assert c.call("JOB.ADD", "q", "x")
    # The unix socket is the operator's own door.
    assert d.client().add("q", "x")


ROLES = [
    # command, who may
    (["QUEUE.STATS", "q"], "reader producer worker operator admin"),
    (["JOB.LIST", "q", "waiting"], "reader producer worker operator admin"),
    (["JOB.ADD", "q", "x"], "producer operator admin"),
    (["JOB.FETCH", "q"], "worker operator admin"),
    (["QUEUE.PAUSE", "q"], "operator admin"),
    (["QUEUE.RESUME", "q"], "operator admin"),
    (["QUEUE.PURGE", "q", "completed"], "operator admin"),
    (["JOB.REMOVE", "999999999"], "operator admin"),
    (["BELLHOP", "TOKEN", "LIST"], "admin"),
    (["BELLHOP", "RELOAD"], "admin"),
    (["CONFIG", "GET", "max_payload"], "admin"),
]


@pytest.fixture(scope="module")
def guarded():
    d = Daemon({"loopback_role": "none"})
    try:
        d.start()
        d.tokens = {role: token(d, "t-" + role, role)
                    for role in ("reader", "producer", "worker", "operator",
                                 "admin")}
        yield d
    finally:
        d.destroy()


@pytest.mark.parametrize("role", ["reader", "producer", "worker", "operator",
                                  "admin"])
def test_roles(guarded, role):
    with loopback(guarded, guarded.tokens[role]) as c:
        assert c.call("PING") == "PONG"
        for command, may in ROLES:
            r = c.pipe([command])[0]
            refused = isinstance(r, RespError) and r.word == "NOPERM"
            assert refused == (role not in may.split()), (command, r)


def test_a_refusal_names_the_role(guarded):
    with loopback(guarded, guarded.tokens["reader"]) as c:
        e = c.error("JOB.ADD", "q", "x")
        assert "reader" in e.text or "producer" in e.text


def test_tokens_may_be_limited_to_queues(guarded):
    secret = token(guarded, "narrow", "operator", "guest.*", "pos")
    admin = guarded.client()
    other = admin.add("private", "secret payload")
    with loopback(guarded, secret) as c:
        assert c.add("guest.1", "x") and c.add("pos", "x")
        assert c.fetch("guest.1", "pos", COUNT=5)
        for command in (["JOB.ADD", "private", "x"],
                        ["JOB.MADD", "private", "1", "x"],
                        ["JOB.FETCH", "guest.1", "private"],
                        ["QUEUE.STATS", "private"],
                        ["QUEUE.PAUSE", "private"],
                        ["QUEUE.ERRORS", "private"],
                        ["JOB.LIST", "private", "waiting"]):
            assert c.error(*command).word == "NOPERM", command
        # Nor by a job's id.
        for command in (["JOB.GET", other], ["JOB.REMOVE", other],
                        ["JOB.UPDATE", other, "mine"], ["JOB.WHY", other],
                        ["JOB.WAIT", other, "1"], ["JOB.CANCEL", other]):
            r = c.pipe([command])[0]
            assert r is None or (isinstance(r, RespError)
                                 and r.word in ("NOPERM", "NOTFOUND")), \
                (command, r)
        assert "private" not in str(c.call("QUEUE.LIST"))
    assert admin.get(other)["payload"] == "secret payload"
    assert not admin.stats("private")["paused"]


def test_tokens_are_stored_hashed_and_can_be_taken_back(make):
    d = make({"loopback_role": "none"})
    secret = token(d, "pos", "producer")
    assert len(secret) >= 32
    path = os.path.join(d.state, "tokens")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert "pos" in text and "producer" in text
    assert secret not in text
    assert os.stat(path).st_mode & 0o077 == 0
    with d.client() as c:
        listed = str(c.call("BELLHOP", "TOKEN", "LIST"))
        assert "pos" in listed and secret not in listed
        assert c.error("BELLHOP", "TOKEN", "ADD", "pos",
                       "reader").word == "CONFLICT"
        assert c.error("BELLHOP", "TOKEN", "ADD", "x", "king").word == "BADARG"
        d.restart()
    with d.client() as c:
        loopback(d, secret).close()
        c.call("BELLHOP", "TOKEN", "DEL", "pos")
        assert isinstance(c.error("BELLHOP", "TOKEN", "DEL", "pos"),
                          RespError)
    with d.client(proto=2, tcp=True) as c:
        assert c.error("AUTH", secret).word == "WRONGPASS"


# Refusals to start.

def written(make):
    """A stopped daemon with one job in its database."""
    d = make()
    d.client().add("q", "x")
    d.stop()
    return d


@pytest.mark.embedded("bellhop.db, plugin_dir")
def test_a_newer_schema(make):
    d = written(make)
    with sqlite3.connect(d.db) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    status, err = d.refused()
    assert "999" in err
    assert "newer" in err
    assert d.db in err


@pytest.mark.embedded("bellhop.db, plugin_dir")
def test_a_corrupt_database(make):
    d = written(make)
    for name in ("bellhop.db-wal", "bellhop.db-shm"):
        try:
            os.unlink(os.path.join(d.state, name))
        except FileNotFoundError:
            pass
    with open(d.db, "r+b") as f:
        f.write(b"this is no database at all" * 10)
    size = os.path.getsize(d.db)
    status, err = d.refused()
    assert d.db in err
    assert "restore" in err or "backup" in err
    # It has not been touched.
    assert os.path.getsize(d.db) == size


@pytest.mark.embedded("bellhop.db, plugin_dir")
def test_a_damaged_page(make):
    d = make()
    d.client().madd("q", ["x" * 1000] * 500)
    d.stop()
    with sqlite3.connect(d.db) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with open(d.db, "r+b") as f:
        for page in range(2, os.path.getsize(d.db) // 4096, 3):
            f.seek(page * 4096)
            f.write(b"\xff" * 600)
    status, err = d.refused()
    assert d.db in err
    assert "restore" in err or "backup" in err


def test_a_second_daemon_on_one_state_dir(make):
    d = make()
    id = d.client().add("q", "x")
    other = make(start=False)
    other.state = d.state
    other.write_config()
    status, err = other.refused()
    assert d.state in err
    assert str(d.proc.pid) in err or "lock" in err or "another" in err
    assert d.client().state(id) == "waiting"


@pytest.mark.embedded("bellhop.db, plugin_dir")
def test_a_database_that_someone_else_locks(make):
    d = written(make)
    db = sqlite3.connect(d.db, isolation_level=None)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("UPDATE meta SET next_id = next_id")
    try:
        status, err = d.refused()
        assert "locked" in err
        assert d.db in err
    finally:
        db.execute("ROLLBACK")
        db.close()
    d.start()


def test_a_missing_directory(make):
    d = make(start=False)
    os.rmdir(d.state)
    status, err = d.refused()
    assert d.state in err
    assert not os.path.exists(d.state)


def test_a_file_in_place_of_the_directory(make):
    d = make(start=False)
    os.rmdir(d.state)
    with open(d.state, "w", encoding="utf-8") as f:
        f.write("x")
    status, err = d.refused()
    assert d.state in err


def test_a_read_only_directory(make):
    d = make(start=False)
    if os.geteuid() == 0:
        # Root may write where it likes, but not on a read-only mount.
        p = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none",
                            d.state], capture_output=True, text=True,
                           check=False)
        if p.returncode:
            pytest.skip("cannot mount here: " + p.stderr.strip())
    else:
        os.chmod(d.state, 0o500)
    try:
        status, err = d.refused()
        assert d.state in err
        assert "read-only" in err.lower() or "permission" in err.lower() \
            or "writ" in err.lower()
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", d.state], check=False)
        else:
            os.chmod(d.state, 0o700)


def test_a_port_in_use(make):
    d = make(start=False)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        d.listen = ["unix:" + d.sock, "127.0.0.1:%d" % s.getsockname()[1]]
        d.write_config()
        d.spawn()
        assert d.wait_exit() > 0
        assert "127.0.0.1:%d" % s.getsockname()[1] in d.err_text()


def test_a_socket_that_another_daemon_serves(make):
    first = make()
    second = make(start=False)
    second.listen = ["unix:" + first.sock]
    second.write_config()
    second.spawn()
    assert second.wait_exit() > 0
    assert first.sock in second.err_text()
    assert first.client().call("PING") == "PONG"


@pytest.mark.parametrize("address", ["unix:", "nowhere", "127.0.0.1:99999",
                                     "127.0.0.1:x", "unix:/no/such/dir/s"])
def test_bad_listen_addresses(make, address):
    d = make(start=False)
    d.listen = ["unix:" + d.sock, address]
    d.write_config()
    d.spawn()
    assert d.wait_exit() > 0
    assert address in d.err_text()


def test_a_missing_plugin(make):
    d = make({"plugins": ["teleport"]}, start=False)
    status, err = d.refused()
    assert "teleport" in err


def test_unwritable_scripts_dir_is_no_obstacle(make):
    d = make(start=False)
    os.rmdir(d.scripts)
    # A daemon without handlers is still a queue.
    d.start()
    assert d.client().add("q", "x")
    assert d.scripts in d.err_text()


def test_several_listeners(make):
    d = make(start=False)
    ports = [free_port(), free_port()]
    d.listen = ["unix:" + d.sock] + ["127.0.0.1:%d" % p for p in ports]
    d.write_config()
    d.start()
    for port in ports:
        with Client(("127.0.0.1", port)) as c:
            assert c.call("PING") == "PONG"


def test_the_socket_is_for_root_and_its_group_only(make):
    d = make()
    assert os.stat(d.sock).st_mode & 0o007 == 0


def test_http_addresses_without_the_plugin_are_told(make):
    d = make()
    assert "nobody listens for HTTP" not in d.err_text()
    d.stop()
    with open(d.conf) as f:
        text = f.read()
    with open(d.conf, "w") as f:
        f.write(text.replace(
            "listen = { resp", 'listen = { http = [ "127.0.0.1:0" ]; resp'))
    d.start()
    assert "nobody listens for HTTP: 'plugins' does not name \"http\"" \
        in d.err_text()
