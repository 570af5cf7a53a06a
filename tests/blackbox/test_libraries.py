# SPDX-License-Identifier: MIT
"""Job libraries that are written for Redis, unmodified, on Bellhop's keys."""
import json
import os
import shutil
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


def test_bullmq(bh):
    modules = os.environ.get("BELLHOP_NODE_MODULES",
                             os.path.join(HERE, "node_modules"))
    if not shutil.which("node") or not os.path.isdir(
            os.path.join(modules, "bullmq")):
        pytest.skip("node with bullmq is not here: run npm install in"
                    " tests/blackbox, or name its node_modules in"
                    " BELLHOP_NODE_MODULES")
    p = subprocess.run(
        ["node", os.path.join(HERE, "bullmq.js"), bh.sock],
        env=dict(os.environ, NODE_PATH=modules), text=True,
        capture_output=True, timeout=120, check=False)
    assert p.returncode == 0, p
    out = json.loads(p.stdout.splitlines()[-1])
    assert out == {
        "errors": [], "one": {"n": 1}, "progress": 50, "logs": ["a line"],
        "failed": "no luck", "tries": 2, "later": {"n": 2},
        "counts": {"completed": 52, "failed": 1, "waiting": 0},
        "unscheduled": True, "parent": {"n": 100}, "children": [1, 2],
        "paused": True, "cleaned": True,
        "left": {"completed": 0, "failed": 0, "waiting": 0}}


def double(n):
    return 2 * n


def test_rq(bh):
    rq = pytest.importorskip("rq")
    redis = pytest.importorskip("redis")
    r = redis.Redis(unix_socket_path=bh.sock)
    q = rq.Queue("low", connection=r)
    jobs = [q.enqueue(double, n) for n in range(20)]
    bad = q.enqueue(double, None)
    later = q.enqueue(double, 5, depends_on=jobs[3])
    assert q.count == 21
    worker = rq.SimpleWorker([q], connection=r)
    assert worker.work(burst=True, logging_level="CRITICAL")
    for n, job in enumerate(jobs):
        job.refresh()
        assert job.result == 2 * n
    later.refresh()
    assert later.result == 10
    assert bad.get_status(refresh=True) == "failed"
    assert q.count == 0 and len(q.failed_job_registry) == 1
    r.close()
