# SPDX-License-Identifier: MIT
"""Real clients: redis-cli, python3-redis, ioredis, hiredis."""
import os
import shutil
import subprocess
import threading

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


# redis-cli.

def cli(bh, *args, stdin=None, flags=()):
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed (package redis-tools)")
    p = subprocess.run(
        ["redis-cli", "-s", bh.sock, *flags, *args], input=stdin, text=True,
        capture_output=True, timeout=60, check=False)
    assert p.returncode == 0, p
    return p.stdout.strip()


@pytest.mark.parametrize("flags", [(), ("-3",)], ids=["resp2", "resp3"])
def test_redis_cli(bh, c, q, flags):
    id = cli(bh, "JOB.ADD", q, "hello", "PRIORITY", "1", flags=flags)
    assert id.isdigit()
    assert c.get(id)["payload"] == "hello"
    assert "hello" in cli(bh, "JOB.GET", id, flags=flags)
    assert cli(bh, "PING", flags=flags) == "PONG"
    assert cli(bh, "JOB.NOSUCH", flags=flags).startswith("ERR")
    assert cli(bh, "JOB.FETCH", q + ".none", flags=flags) == ""


def test_redis_cli_from_standard_input(bh, c, q):
    out = cli(bh, stdin="".join("JOB.ADD %s p%d\n" % (q, n)
                                for n in range(50)))
    ids = out.split()
    assert len(ids) == 50
    assert c.stats(q)["waiting"] == 50


def test_redis_cli_pipe_mode(bh, c, q):
    from resp import encode
    data = b"".join(encode(["JOB.ADD", q, "p%d" % n]) for n in range(5000))
    if not shutil.which("redis-cli"):
        pytest.skip("redis-cli is not installed (package redis-tools)")
    p = subprocess.run(["redis-cli", "-s", bh.sock, "--pipe"], input=data,
                       capture_output=True, timeout=120, check=False)
    assert p.returncode == 0, p
    assert b"errors: 0, replies: 5000" in p.stdout
    assert c.stats(q)["waiting"] == 5000


def test_redis_cli_over_tcp_and_json(bh, q):
    p = subprocess.run(
        ["redis-cli", "-p", str(bh.port), "--json", "QUEUE.STATS", q],
        capture_output=True, text=True, timeout=60, check=False)
    assert p.returncode == 0, p
    import json
    assert json.loads(p.stdout)["waiting"] == 0


# python3-redis.

@pytest.fixture
def redis():
    return pytest.importorskip("redis")


def connections(redis, bh):
    yield redis.Redis(unix_socket_path=bh.sock, decode_responses=True)
    yield redis.Redis(port=bh.port, decode_responses=True)
    if int(redis.__version__.split(".", maxsplit=1)[0]) >= 5:
        yield redis.Redis(port=bh.port, decode_responses=True, protocol=3)


def test_python_redis(bh, redis, q):
    for r in connections(redis, bh):
        assert r.ping()
        id = r.execute_command("JOB.ADD", q, "hello", "RETAIN", 60000)
        jobs = r.execute_command("JOB.FETCH", q, "BLOCK", 5000)
        job = jobs[0]
        if isinstance(job, list):
            job = dict(zip(job[::2], job[1::2]))
        assert (job["id"], job["payload"]) == (id, "hello")
        assert r.execute_command("JOB.DONE", id, job["token"], "r") \
            in ("OK", True)
        assert "uptime_in_seconds" in r.info()
        assert r.client_setname("py")
        assert r.client_getname() == "py"
        assert isinstance(r.client_list(), list)
        r.close()


def test_python_redis_errors(bh, redis, q):
    r = redis.Redis(unix_socket_path=bh.sock, decode_responses=True)
    with pytest.raises(redis.ResponseError) as e:
        r.execute_command("JOB.ADD", q)
    assert "JOB.ADD" in str(e.value).upper()
    r.close()


def test_python_redis_pipeline(bh, redis, q):
    r = redis.Redis(unix_socket_path=bh.sock, decode_responses=True)
    pipe = r.pipeline(transaction=False)
    for n in range(1000):
        pipe.execute_command("JOB.ADD", q, "p%d" % n)
    ids = pipe.execute()
    assert [int(i) for i in ids] == sorted({int(i) for i in ids})
    assert len(ids) == 1000
    r.close()


def test_python_redis_pool_of_workers(bh, redis, q):
    r = redis.Redis(unix_socket_path=bh.sock, decode_responses=True)
    n, done, lock = 200, [], threading.Lock()

    def work():
        while True:
            jobs = r.execute_command("JOB.FETCH", q, "COUNT", 5, "BLOCK", 500)
            if not jobs:
                return
            for flat in jobs:
                job = dict(zip(flat[::2], flat[1::2]))
                r.execute_command("JOB.DONE", job["id"], job["token"])
                with lock:
                    done.append(job["id"])

    ids = [r.execute_command("JOB.ADD", q, "x") for _ in range(n)]
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(done, key=int) == ids
    r.close()


# ioredis.

IOREDIS = r"""
const Redis = require('ioredis');
const assert = require('assert');
const [where, queue] = process.argv.slice(2);
const map = (flat) => {
  const m = {};
  for (let i = 0; i < flat.length; i += 2) m[flat[i]] = flat[i + 1];
  return m;
};
(async () => {
  const r = new Redis(/^[0-9]+$/.test(where)
    ? { port: +where } : { path: where });
  const worker = r.duplicate();
  assert.strictEqual(await r.ping(), 'PONG');
  // Many calls in one turn leave in one write.
  const ids = await Promise.all(Array.from({ length: 500 },
    (_, n) => r.call('JOB.ADD', queue, 'p' + n)));
  assert.strictEqual(new Set(ids).size, 500);
  let seen = 0;
  while (seen < 500) {
    const jobs = (await worker.call('JOB.FETCH', queue, 'COUNT', '50',
      'BLOCK', '5000')).map(map);
    await Promise.all(jobs.map((j) => r.call('JOB.DONE', j.id, j.token)));
    seen += jobs.length;
  }
  const stats = map(await r.call('QUEUE.STATS', queue));
  assert.strictEqual(stats.waiting, 0);
  assert.strictEqual(stats.processed_total, 500);
  const pipeline = r.pipeline();
  for (let n = 0; n < 100; n++) pipeline.call('JOB.ADD', queue, 'q' + n);
  const answers = await pipeline.exec();
  assert.ok(answers.every(([err, id]) => !err && /^[0-9]+$/.test(id)));
  await assert.rejects(r.call('JOB.GET', 'x'), /BADARG/);
  r.disconnect();
  worker.disconnect();
  console.log('fine');
})().catch((e) => { console.error(e); process.exit(1); });
"""


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_ioredis(bh, q, way, tmp_path):
    modules = os.environ.get("BELLHOP_NODE_MODULES",
                             os.path.join(HERE, "node_modules"))
    if not os.path.isdir(os.path.join(modules, "ioredis")):
        pytest.skip("no ioredis: npm install it by package.json, and name its"
                    " node_modules in BELLHOP_NODE_MODULES")
    program = tmp_path / "client.js"
    program.write_text(IOREDIS)
    where = bh.sock if way == "unix" else str(bh.port)
    p = subprocess.run(["node", str(program), where, q], text=True,
                       capture_output=True, timeout=120, check=False,
                       env=dict(os.environ, NODE_PATH=modules))
    assert p.returncode == 0, p.stderr
    assert p.stdout.strip() == "fine"


# hiredis.

@pytest.fixture(scope="module")
def hiredis(tmp_path_factory):
    """The C client, compiled."""
    out = str(tmp_path_factory.mktemp("hiredis") / "client")
    p = subprocess.run(
        [os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", "-O1",
         "-o", out, os.path.join(HERE, "hiredis_client.c"), "-lhiredis"],
        capture_output=True, text=True, check=False)
    if p.returncode and "hiredis/hiredis.h" in p.stderr:
        pytest.skip("hiredis is not installed (package libhiredis-dev)")
    assert p.returncode == 0, p.stderr
    return out


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_hiredis(bh, c, q, hiredis, way):
    where = bh.sock if way == "unix" else str(bh.port)
    for proto in "23":
        name = q + "." + proto
        p = subprocess.run([hiredis, where, name, proto], text=True,
                           capture_output=True, timeout=120, check=False)
        if proto == "3" and p.returncode == 77:
            continue        # hiredis before 1.0 speaks RESP2 alone
        assert p.returncode == 0, p.stdout + p.stderr
        assert p.stdout.strip() == "fine"
        stats = c.stats(name)
        assert (stats["waiting"], stats["completed"]) == (999, 1)
