# SPDX-License-Identifier: MIT
"""The Redis backend's connection: addresses, passwords, certificates,
sentinels, a server that goes, freezes, comes back, or must not be used."""
import contextlib
import os

import pytest

from daemon import free_port, wait_until
from redisserver import KEEPS, Authority, Sentinel, Server
from resp import RespError

pytestmark = pytest.mark.embedded("it has backends of its own")


@pytest.fixture
def server():
    """server(...) is a redis-server, started."""
    made = []

    def maker(*args, **kw):
        s = Server(*(args or KEEPS), **kw)
        made.append(s)
        return s.start()

    yield maker
    for s in made:
        s.destroy()


@pytest.fixture(scope="module")
def authority():
    a = Authority()
    yield a
    a.destroy()


@pytest.fixture
def on(make):
    """on(url, option=…) is a daemon with that Redis."""
    def maker(url, start=True, scripts=None, **options):
        backend = {"type": '"redis"', "url": '"%s"' % url}
        backend.update({k: v if k in ("accept_loss", "sentinel") else
                        '"%s"' % v for k, v in options.items()})
        return make({"plugin_dir": os.path.join(os.path.dirname(
            os.environ["BELLHOPD"]), "plugins", ".libs")},
            "backend = { %s };" % " ".join(
                "%s = %s;" % kv for kv in backend.items()), scripts, start=start)
    return maker


def said(d, text):
    """How many lines of the plugin have it; alerts repeat its words."""
    return sum(text in line and line.endswith("plugin=redis")
               for line in d.err_text().splitlines())


def says(d, text, count=1):
    wait_until(lambda: said(d, text) >= count, repr(text))
    assert said(d, text) == count, d.err_text()


def works(d, key="k"):
    with d.client() as c:
        assert c.call("SET", key, "v") == "OK"
        assert c.call("GET", key) == "v"


def health(d):
    with d.client() as c:
        c.send("BELLHOP", "HEALTH")
        return c.read()


def asked(d, *words):
    with d.client() as c:
        c.send(*words)
        return c.read()


def away(d):
    return wait_until(lambda: str(asked(d, "GET", "k")).startswith("BACKEND")
                      and str(asked(d, "GET", "k")), "BACKEND")


def back(d):
    wait_until(lambda: not isinstance(asked(d, "GET", "k"), RespError),
               "the backend's return")


# --- addresses


def test_users_keys_keep_their_names(server, on):
    s = server()
    d = on(s.url + "/3")
    works(d, "guest:1")
    with s.client() as c:
        assert c.call("GET", "guest:1") is None
        c.call("SELECT", 3)
        assert c.call("GET", "guest:1") == "v"


def test_a_unix_socket_is_an_address(server, on):
    works(on("unix:" + server().sock))


def test_the_name_of_a_host_is_an_address(server, on):
    works(on(server().url.replace("127.0.0.1", "localhost")))


def test_the_plugin_is_loaded_without_being_named(server, on):
    d = on(server().url)
    assert "plugin redis" in d.err_text()


@pytest.mark.parametrize("url, words", [
    ("http://x", "redis://HOST, rediss://HOST (TLS) or unix:PATH is"),
    ("redis://h:99999", "'99999' is no port"),
    ("redis://h/x", "the database 'x' is no number"),
    ("redis://a:topsecret@h:0", "'0' is no port"),
    ("redis://a:top%xsecret@h", "write %25"),
    ("unix:relative", "the absolute path"),
])
def test_a_malformed_url_is_refused_without_its_secrets(make, on, url, words):
    d = on(url, start=False)
    r = d.check_config()
    assert r.status == 1
    assert "backend.url" in r.err and words in r.err
    assert "secret" not in r.err
    status, err = d.refused()
    assert status == 1 and words in err and "secret" not in err


def test_nobody_at_the_address_is_told(on):
    """The first start needs a Redis."""
    port = free_port()
    err = on("redis://127.0.0.1:%d" % port, start=False).refused()[1]
    assert "127.0.0.1:%d: Connection refused" % port in err
    assert "is the address right?" in err


def test_a_name_without_address_is_told(on):
    err = on("redis://no-such-host.invalid", start=False).refused()[1]
    assert "the name 'no-such-host.invalid' has no address" in err


def test_another_service_at_the_address_is_told(make, on):
    http = make(http=True)
    d = on("redis://127.0.0.1:%d" % http.http_port, start=False)
    err = d.refused()[1]
    assert "Redis is away" in err or "Redis cannot be used" in err


# --- passwords


def test_a_password_is_sent_and_not_shown(server, on):
    s = server(*KEEPS, "--requirepass", "geheim%1", password="geheim%1")
    d = on("redis://:geheim%%251@127.0.0.1:%d" % s.port)
    works(d)
    with d.client() as c:
        shown = c.call("CONFIG", "GET", "backend.url")
    assert "geheim" not in str(shown) and "127.0.0.1" in str(shown)
    d.stop()
    assert "geheim" not in d.err_text()


def test_an_acl_user_is_possible(server, on):
    s = server()
    s.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all")
    s.call("ACL", "SETUSER", "default", "off")
    works(on("redis://app:pw@127.0.0.1:%d" % s.port))


def test_the_password_may_be_a_secret_file(server, on):
    s = server()
    s.call("CONFIG", "SET", "requirepass", "hush")
    s.password = "hush"
    d = on(s.url, start=False)
    with open(os.path.join(d.secrets, "redis_password"), "w",
              encoding="ascii") as f:
        f.write("hush\n")
    d.start()
    works(d)


@pytest.mark.parametrize("user, words", [
    ("", "Redis wants a password"),
    (":wrong@", "does not take this user and password"),
    ("nobody:wrong@", "does not take this user and password"),
])
def test_a_wrong_password_refuses_the_start(server, on, user, words):
    s = server()
    s.call("CONFIG", "SET", "requirepass", "right")
    s.password = "right"
    d = on("redis://%s127.0.0.1:%d" % (user, s.port), start=False)
    status, err = d.refused()
    assert status == 1 and words in err and "wrong" not in err
    assert "backend.url" in err


def test_a_password_for_a_server_without_one_is_told(server, on):
    s = server()
    d = on("redis://:pw@127.0.0.1:%d" % s.port, start=False)
    assert "a password was sent, and this Redis has none" in d.refused()[1]


def test_a_user_without_rights_is_told(server, on):
    s = server()
    s.call("ACL", "SETUSER", "app", "on", ">pw", "~x:*", "+get", "+ping")
    d = on("redis://app:pw@127.0.0.1:%d" % s.port, start=False)
    assert "ACL SETUSER" in d.refused()[1]


# --- TLS


def test_tls_with_the_address_in_the_certificate(server, authority, on):
    s = server(tls=authority.server_args("IP:127.0.0.1"))
    works(on(s.url, ca_file=authority.ca))


def test_tls_with_a_name_in_the_certificate(server, authority, on):
    s = server(tls=authority.server_args("DNS:localhost"))
    works(on(s.url.replace("127.0.0.1", "localhost"), ca_file=authority.ca))


def test_large_values_pass_through_tls(server, authority, on):
    s = server(tls=authority.server_args("IP:127.0.0.1"))
    d = on(s.url, ca_file=authority.ca)
    with d.client() as c:
        big = "x" * (8 << 20)
        assert c.call("SET", "big", big) == "OK"
        assert c.call("GET", "big") == big


def test_a_certificate_for_another_name_is_refused(server, authority, on):
    s = server(tls=authority.server_args("DNS:other.example"))
    d = on(s.url, start=False, ca_file=authority.ca)
    err = d.refused()[1]
    assert "the certificate of '127.0.0.1' is refused" in err
    assert "a name or an address that the certificate has" in err


def test_an_unknown_authority_is_refused(server, authority, on):
    s = server(tls=authority.server_args("IP:127.0.0.1"))
    d = on(s.url, start=False)
    err = d.refused()[1]
    assert "the certificate of '127.0.0.1' is refused" in err
    assert "backend.ca_file" in err


def test_a_ca_file_that_is_none_is_refused(server, on):
    d = on("rediss://127.0.0.1:1", start=False, ca_file="/etc/hostname")
    assert "backend.ca_file: '/etc/hostname'" in d.refused()[1]


def test_tls_to_a_plain_port_is_told(server, on):
    s = server()
    d = on(s.url.replace("redis:", "rediss:"), start=False)
    assert "is it a port with TLS?" in d.refused()[1]


# --- preflight


@pytest.mark.parametrize("args, words", [
    (["--save", ""], "keeps nothing on disk"),
    (KEEPS + ["--maxmemory-policy", "allkeys-lru"],
     "maxmemory-policy allkeys-lru"),
])
def test_a_server_that_may_lose_jobs_is_refused(server, on, args, words):
    s = server(*args)
    d = on(s.url, start=False)
    status, err = d.refused()
    assert status == 1 and words in err and "accept_loss" in err
    d2 = on(s.url, accept_loss="true")
    works(d2)


def test_snapshots_are_enough(server, on):
    works(on(server("--save", "3600 1").url))


def test_a_replica_is_refused(server, on):
    s = server()
    r = server(*KEEPS, "--replicaof", "127.0.0.1 %d" % s.port)
    d = on(r.url, start=False)
    wait_until(lambda: "master_link_status:up" in r.call(
        "INFO", "replication"), "the replica")
    assert "backend.url names a replica" in d.refused()[1]


def test_a_server_that_is_too_old_is_refused(on, tmp_path):
    import old_redis
    with old_redis.serve("6.0.16") as port:
        d = on("redis://127.0.0.1:%d" % port, start=False)
        err = d.refused()[1]
    assert "this is Redis 6.0.16: Redis 6.2 or Valkey 7.2 is the oldest" in err


def test_a_server_that_comes_back_empty_is_told(server, on):
    s = server()
    d = on(s.url)
    works(d)
    d.stop()
    s.call("FLUSHALL")
    d.start()
    says(d, "Redis does not have the data that it had")
    assert "does not have the data" in str(health(d))
    d.restart()
    says(d, "Redis does not have the data that it had")
    assert "does not have the data" not in str(health(d))


def test_a_server_that_returns_empty_while_we_run_is_told(server, on):
    s = server("--save", "3600 1")
    d = on(s.url)
    works(d)
    s.kill()
    away(d)
    s.start()
    says(d, "Redis does not have the data that it had")
    back(d)


def test_full_memory_says_what_to_do(server, on):
    s = server(*KEEPS, "--maxmemory", "3mb")
    d = on(s.url)
    with d.client() as c:
        for i in range(100):
            c.send("SET", "k%d" % i, "x" * 100000)
            r = c.read()
            if isinstance(r, RespError):
                break
    assert str(r).startswith("OOM")


def test_a_cluster_of_one_works_and_of_two_is_told(server, on):
    # Its second port would else be 10,000 further.
    buses = free_port(), free_port()
    s, other = (server(*KEEPS, "--cluster-enabled", "yes", "--cluster-port",
                       str(bus)) for bus in buses)
    s.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_until(lambda: "cluster_state:ok" in s.call("CLUSTER", "INFO"),
               "the cluster")
    d = on(s.url)
    works(d)
    with d.client() as c:
        assert c.call("MSET", "{a}1", "x", "{a}2", "y") == "OK"
        c.send("MSET", "a", "x", "b", "y")
        assert str(c.read()).startswith("CROSSSLOT")
        i = c.add("work", "payload")
        assert [j["id"] for j in c.fetch("work")] == [i]
        s.call("CLUSTER", "MEET", "127.0.0.1", other.port, buses[1])
        node = other.call("CLUSTER", "MYID")
        wait_until(lambda: node in s.call("CLUSTER", "NODES"), "two nodes")
        s.call("CLUSTER", "SETSLOT", s.call("CLUSTER", "KEYSLOT", "moved"),
               "NODE", node)
        c.send("SET", "moved", "v")
        assert "a node of a cluster and the keys are on another" in \
            c.read().line


# --- away and back


def test_one_warning_when_it_goes_and_one_line_when_it_is_back(server, on):
    s = server()
    d = on(s.url)
    works(d)
    for i in (1, 2):
        s.kill()
        says(d, "Redis is away", i)
        assert "Redis is away" in away(d)
        assert "Redis is away" in str(health(d))
        s.start()
        says(d, "is back", i)
        back(d)
        works(d)
    d.stop()
    assert said(d, "Redis is away") == 2


def test_a_frozen_server_is_noticed(server, on):
    s = server()
    d = on(s.url)
    works(d)
    s.freeze()
    says(d, "Redis is away: no answer for 5 s")
    s.freeze(False)
    says(d, "is back")
    works(d)


def test_a_start_without_redis_and_its_arrival(server, on):
    s = server()
    d = on(s.url)
    works(d)
    d.stop()
    s.kill()
    d.start()
    says(d, "Redis is away")
    assert "Connection refused" in away(d)
    assert "Connection refused" in str(health(d))
    s.start()
    says(d, "is back")
    works(d)


def test_a_password_changed_while_we_run_is_told(server, on):
    s = server()
    d = on(s.url)
    works(d)
    s.call("CONFIG", "SET", "requirepass", "new")
    s.password = "new"
    s.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    says(d, "Redis cannot be used: Redis wants a password")
    s.call("CONFIG", "SET", "requirepass", "")
    s.password = None
    says(d, "is back")
    works(d)


# --- sentinels


def test_sentinels_name_the_master_and_a_new_one(server, on):
    with contextlib.ExitStack() as stack:
        a = server()
        b = server(*KEEPS, "--replicaof", "127.0.0.1 %d" % a.port)
        wait_until(lambda: "master_link_status:up" in b.call(
            "INFO", "replication"), "the replica")
        sentinel = Sentinel(a)
        stack.callback(sentinel.destroy)
        sentinel.start()
        wait_until(lambda: "slaves=1" in sentinel.call("INFO", "sentinel"),
                   "the sentinel to know both")
        d = on("redis://ignored.invalid",
               sentinel='[ "127.0.0.1:%d", "127.0.0.1:%d" ]'
               % (free_port(), sentinel.port))
        works(d, "before")
        assert a.call("GET", "before") == "v"
        wait_until(lambda: b.call("GET", "before") == "v", "the replication")
        a.kill()
        says(d, "is back")
        works(d, "after")
        assert b.call("GET", "after") == "v"
        with d.client() as c:
            assert c.call("GET", "before") == "v"


def test_an_unknown_master_is_told(server, on):
    sentinel = Sentinel(server())
    try:
        sentinel.start()
        d = on("redis://x", sentinel='[ "127.0.0.1:%d" ]' % sentinel.port,
               sentinel_master="other", start=False)
        err = d.refused()[1]
        assert "no sentinel knows the master 'other'" in err
        assert "backend.sentinel_master" in err
    finally:
        sentinel.destroy()


# --- keys and topics through it


def test_a_wait_for_a_list_holds_nobody_up(server, on):
    d = on(server().url)
    with d.client() as a, d.client() as b:
        a.send("BLPOP", "list", 0)
        assert b.call("SET", "k", "v") == "OK"
        assert b.call("RPUSH", "list", "x") == 1
        assert a.read() == ["list", "x"]
        a.send("BLPOP", "list", "0.05")
        assert a.read() is None
        a.send("BLPOP", "list", 0)
    with d.client() as b:
        assert b.call("PING") == "PONG"


def test_watch_and_exec_are_the_servers(server, on):
    s = server()
    d = on(s.url)
    with d.client() as a, d.client() as b:
        a.call("SET", "k", "1")
        a.call("WATCH", "k")
        a.call("MULTI")
        a.call("INCR", "k")
        a.call("GET", "k")
        assert a.call("EXEC") == [2, "2"]
        a.call("WATCH", "k")
        b.call("SET", "k", "9")
        a.call("MULTI")
        a.call("SET", "k", "0")
        assert a.call("EXEC") is None
        assert a.call("GET", "k") == "9"
        a.call("MULTI")
        a.call("LPUSH", "k", "x")
        a.send("EXEC")
        assert "WRONGTYPE" in str(a.read())


def test_our_own_keys_are_neither_seen_nor_touched(server, on):
    s = server()
    d = on(s.url)
    with d.client() as c:
        c.call("MSET", "a", "1", "b", "2")
        assert sorted(c.call("KEYS", "*")) == ["a", "b"]
        assert sorted(c.call("SCAN", "0", "COUNT", "1000")[1]) == ["a", "b"]
        assert c.call("DBSIZE") == 2
        assert c.call("RANDOMKEY") in ("a", "b")
        own = [k for k in s.call("KEYS", "*") if k.startswith("bh:")]
        assert own
        c.send("GET", own[0])
        assert "Bellhop's own keys" in str(c.read())
        flush = "return redis.call('FlushAll')"
        assert c.error("EVAL", flush, 0).word == "NOPERM"
        assert c.error("SCRIPT", "LOAD", flush).word == "NOPERM"
        c.call("MULTI")
        c.call("EVAL", flush, 0)
        assert c.error("EXEC").word == "EXECABORT"
        assert c.call("EVAL", "return redis.call('DBSIZE') > 0", 0) == 1
        assert c.call("FLUSHALL") == "OK"
        assert c.call("DBSIZE") == 0
        assert [k for k in s.call("KEYS", "*") if k.startswith("bh:")]


LISTENER = """
return { subscribe = { ["guest.*"] = function(msg, topic)
  redis("RPUSH", "heard", topic .. "=" .. msg)
end, ["*.1"] = function(msg) redis("RPUSH", "heard", "1=" .. msg) end } }
"""


def test_topics_are_shared_between_instances(server, on):
    s = server()
    one, two = on(s.url, scripts={"l.lua": LISTENER}), on(s.url)
    with two.client() as c:
        assert c.call("PUBLISH", "guest.2", "hello") == 1
        assert c.call("BLPOP", "heard", 40) == ["heard", "guest.2=hello"]
        # Once for each who listens, though both patterns match.
        c.call("PUBLISH", "guest.1", "again")
        got = {c.call("BLPOP", "heard", 40)[1] for _ in range(2)}
        assert got == {"guest.1=again", "1=again"}
        s.call("CLIENT", "KILL", "TYPE", "pubsub")
        wait_until(lambda: s.call("PUBSUB", "NUMPAT") == 2, "subscriptions")
        c.call("PUBLISH", "guest.3", "anew")
        assert c.call("BLPOP", "heard", 40) == ["heard", "guest.3=anew"]
        assert c.call("LLEN", "heard") == 0
    with one.client() as c:
        assert c.call("PUBLISH", "guest.4", "here") == 1


def test_limits_are_shared_between_instances(server, on):
    s = server()
    one, two = on(s.url), on(s.url)
    with one.client() as a, two.client() as b:
        got = [x.call("CL.THROTTLE", "k", 3, 10, 60)[0]
               for x in (a, b, a, b, a, b)]
    assert got == [0, 0, 0, 0, 1, 1]


def test_the_server_sees_who_we_are(server, on):
    s = server()
    on(s.url)
    assert "name=bellhop" in s.call("CLIENT", "LIST")
