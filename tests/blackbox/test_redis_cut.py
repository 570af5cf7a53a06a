# SPDX-License-Identifier: MIT
"""The connection to Redis is cut again and again, in the middle of things:
what the server has carried out is not done twice, what it has not is."""
import threading

import pytest

import realredis
from daemon import Daemon, plugin_dir, wait_until
from resp import Client

CONFIG = """
plugins = [ "redis" ];
backend = { type = "redis"; url = "unix:%s"; };
"""
ADDERS = 4
JOBS = 150


@pytest.fixture
def redis():
    r = realredis.start(aof=True)
    yield r
    r.stop()


@pytest.fixture
def daemon(redis):
    d = Daemon(config=CONFIG % redis.sock)
    d.options["plugin_dir"] = plugin_dir()
    d.write_config()
    d.start()
    yield d
    d.destroy()


def cut(redis, stop):
    with redis.client() as c:
        while not stop.wait(0.05):
            c.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def add(daemon, who, ids):
    with Client(daemon.sock) as c:
        for i in range(JOBS):
            ids.append(c.add("plain", "%d.%d" % (who, i)))


def test_a_cut_connection_loses_and_doubles_no_job(daemon, redis):
    stop, ids = threading.Event(), []
    cutter = threading.Thread(target=cut, args=(redis, stop))
    adders = [threading.Thread(target=add, args=(daemon, i, ids))
              for i in range(ADDERS)]

    cutter.start()
    for t in adders:
        t.start()
    for t in adders:
        t.join()
    stop.set()
    cutter.join()
    assert len(ids) == ADDERS * JOBS
    assert len(set(ids)) == len(ids)
    c = daemon.client()
    wait_until(lambda: c.call("BELLHOP", "HEALTH")["ready"],
               "Redis to be back")
    wait_until(lambda: c.call("QUEUE.STATS", "plain")["waiting"]
               == len(ids), "all to have arrived")
    seen = set()
    while True:
        jobs = c.call("JOB.FETCH", "plain", "COUNT", 100)
        if not jobs:
            break
        for j in jobs:
            assert j["id"] not in seen
            seen.add(j["id"])
            assert c.call("JOB.DONE", j["id"], j["token"]) == "OK"
    assert seen == set(ids)
