# SPDX-License-Identifier: MIT
"""./setup bench: Bellhop beside its peers, in one run, on one machine.

README.md beside this file says what each row measures and how.
"""
import argparse
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import keys
import web

HERE = os.path.dirname(os.path.abspath(__file__))
HANDLER = """return { queue = "bench", concurrency = %d,
  perform = function(job) end }
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("bench: waited in vain for " + what)
        time.sleep(0.002)


def answers(port, request, start):
    """Whether a server on this port answers request with start."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(request)
            return s.recv(64).startswith(start)
    except OSError:
        return False


class Server:
    """A process with a directory of its own, on a free port."""

    def __init__(self, opt, name):
        self.opt = opt
        self.dir = os.path.join(opt.data, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.port = free_port()
        self.addr = "127.0.0.1:%d" % self.port
        self.proc = None

    def start(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.proc = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        wait_until(self.ready, " ".join(self.command()))
        return self

    def ready(self):
        if self.proc.poll() is not None:
            with open(os.path.join(self.dir, "log"), "rb") as log:
                sys.exit("bench: %s ended:\n%s" % (
                    self.command()[0], log.read()[-2000:].decode()))
        return answers(self.port, b"PING\r\n", b"+PONG")

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(120)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        if self.proc.poll() is None:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Bellhop(Server):
    def __init__(self, opt, handler=True, http=False, scripts=None,
                 secrets=None, config=""):
        super().__init__(opt, "bellhop")
        self.conf = os.path.join(self.dir, "bellhop.conf")
        for sub in ("state", "scripts", "secrets"):
            os.mkdir(os.path.join(self.dir, sub))
        if scripts is None:
            scripts = {"bench.lua": HANDLER % opt.concurrency} if handler \
                else {}
        self.write("scripts", scripts)
        self.write("secrets", secrets or {})
        door = ""
        if http:
            port = free_port()
            self.url = "http://127.0.0.1:%d" % port
            door = ' http = [ "127.0.0.1:%d" ];' % port
        with open(self.conf, "w", encoding="ascii") as f:
            f.write('state_dir = "%s/state";\nscripts_dir = "%s/scripts";\n'
                    'secrets_dir = "%s/secrets";\n'
                    'listen = { resp = [ "%s" ];%s };\n'
                    'plugin_dir = "%s/plugins/.libs";\n%s'
                    'max_connections = 2000;\n'
                    'durability = "commit";\n%s'
                    % (self.dir, self.dir, self.dir, self.addr, door,
                       opt.build, 'plugins = [ "http" ];\n' if http else "",
                       config))

    def write(self, sub, files):
        for name, text in files.items():
            with open(os.path.join(self.dir, sub, name), "w",
                      encoding="ascii") as f:
                f.write(text)

    def command(self):
        return [os.path.join(self.opt.build, "bellhopd"), "--config",
                self.conf, "--foreground"]

    def call(self, line):
        with socket.create_connection(("127.0.0.1", self.port), 60) as s:
            s.sendall(line.encode() + b"\r\n")
            reply = s.recv(65536)
        if reply.startswith(b"-"):
            sys.exit("bench: %s: %s" % (line, reply.decode()))
        return reply.decode()

    def figure(self, queue, name):
        """One number of QUEUE.STATS."""
        words = self.call("QUEUE.STATS " + queue).split("\r\n")
        return int(words[words.index(name) + 1][1:])

    def load(self, mode, *args):
        return load(self.opt, self.addr, mode, *args)


class Answer(Server):
    def __init__(self, opt):
        super().__init__(opt, "answer")

    def command(self):
        return [os.path.join(self.opt.build, "tests", "bench", "answer"),
                str(self.port)]

    def ready(self):
        return answers(self.port, b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1")


class Redis(Server):
    def __init__(self, opt, fsync):
        super().__init__(opt, "redis")
        self.fsync = fsync

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind",
                "127.0.0.1", "--save", "", "--appendonly", "yes",
                "--appendfsync", self.fsync, "--dir", self.dir]

    def bullmq(self, mode, jobs):
        return fields(["node", os.path.join(HERE, "bullmq.js"), mode,
                       str(self.port), str(jobs), "200"])


class Beanstalkd(Server):
    def __init__(self, opt):
        super().__init__(opt, "beanstalkd")

    def command(self):
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b",
                self.dir, "-f", "0"]

    def ready(self):
        return answers(self.port, b"list-tube-used\r\n", b"USING")


def fields(command):
    """Runs it; the name=value pairs that it prints, as numbers."""
    p = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                       stdin=subprocess.DEVNULL, check=False)
    if p.returncode != 0:
        sys.exit("bench: failed: " + " ".join(command))
    return {k: float(v) for k, v in
            (pair.split("=") for pair in p.stdout.split())}


def load(opt, addr, mode, *args):
    return fields([os.path.join(opt.build, "tests", "bench", "load"),
                   "--addr", addr, *map(str, args), mode])


# What is measured. Each returns jobs a second.

def bellhop_drain(opt):
    with Bellhop(opt) as b:
        b.call("QUEUE.PAUSE bench")
        b.load("preload", "--jobs", opt.drain)
        return b.load("drain", "--jobs", opt.drain)["rate"]


def bellhop_mixed(opt):
    with Bellhop(opt) as b:
        return b.load("mixed", "--jobs", opt.mixed, "--conns", 50,
                      "--depth", 16)["rate"]


def bellhop_add(opt, conns, depth, jobs):
    with Bellhop(opt, handler=False) as b:
        return b.load("add", "--jobs", jobs, "--conns", conns, "--depth",
                      depth)["rate"]


def beanstalkd_add(opt):
    with Beanstalkd(opt) as b:
        return load(opt, b.addr, "add", "--beanstalk", "--jobs",
                    opt.add // 2, "--conns", 50)["rate"]


def bullmq(opt, fsync, mode, jobs):
    with Redis(opt, fsync) as r:
        return r.bullmq(mode, jobs)["rate"]


def throughput_rows(opt):
    """name → [(tool, function)]; Bellhop is the first."""
    def on_redis(mode, jobs):
        return [("BullMQ, AOF " + fsync,
                 lambda f=fsync: bullmq(opt, f, mode, jobs))
                for fsync in ("everysec", "always")]

    return [
        ("drain a preloaded queue",
         [("Bellhop", lambda: bellhop_drain(opt))]
         + on_redis("drain", opt.drain)),
        ("add and process at once",
         [("Bellhop", lambda: bellhop_mixed(opt))]
         + on_redis("mixed", opt.mixed // 2)),
        ("add, 50 connections, one in flight each",
         [("Bellhop", lambda: bellhop_add(opt, 50, 1, opt.add)),
          ("beanstalkd -f 0", lambda: beanstalkd_add(opt))]
         + on_redis("add", opt.add)),
        ("add, 1 connection, 64 deep",
         [("Bellhop", lambda: bellhop_add(opt, 1, 64, 2 * opt.add))]),
        ("add, 50 connections, 64 deep",
         [("Bellhop", lambda: bellhop_add(opt, 50, 64, 4 * opt.add))]),
    ]


def spread(values, form="%.0f"):
    form = "%s (%s–%s)" % (form, form, form)
    return form % (statistics.median(values), min(values), max(values))


def thousands(values):
    return spread([v / 1000 for v in values], "%.1f k")


def throughput(opt):
    rows = throughput_rows(opt)
    rates = {(row, tool): [] for row, tools in rows for tool, _ in tools}
    for n in range(opt.repetitions):
        for row, tools in rows:
            for tool, measure in tools:
                rates[row, tool].append(measure())
                print("  %d/%d %s, %s: %.0f/s" % (
                    n + 1, opt.repetitions, row, tool,
                    rates[row, tool][-1]), file=sys.stderr, flush=True)
    print("| what | tool | jobs/s, median (min–max) | Bellhop is |")
    print("|---|---|---|---|")
    for row, tools in rows:
        own = rates[row, tools[0][0]]
        for tool, _ in tools:
            ratio = ""
            if tool != tools[0][0]:
                ratio = spread([a / b for a, b in
                                zip(own, rates[row, tool])], "%.1f") + " ×"
            print("| %s | %s | %s | %s |" % (
                row, tool, thousands(rates[row, tool]), ratio))
    print(flush=True)


# The Redis backend: both work on one Redis, one after the other.

def redis_bellhop(opt, r):
    config = ('plugins = [ "redis" ];\nbackend = { type = "redis"; '
              'url = "redis://%s/0"; };\n' % r.addr)
    with Bellhop(opt, config=config) as b:
        return b.load("mixed", "--jobs", opt.mixed // 2, "--conns", 50,
                      "--depth", 16)["rate"]


def redis_backend(opt):
    """Jobs a second, and Redis' CPU time for a job."""
    tools = {
        "Bellhop": lambda r: redis_bellhop(opt, r),
        "BullMQ": lambda r: r.bullmq("mixed", opt.mixed // 2)["rate"]}
    rates = {tool: [] for tool in tools}
    costs = {tool: [] for tool in tools}
    for n in range(opt.repetitions):
        with Redis(opt, "everysec") as r:
            for tool, measure in tools.items():
                answers(r.port, b"FLUSHALL\r\n", b"+OK")
                before = cpu_seconds(r.proc.pid)
                rates[tool].append(measure(r))
                costs[tool].append((cpu_seconds(r.proc.pid) - before)
                                   / (opt.mixed // 2) * 1e6)
                print("  %d/%d add and process on Redis, %s: %.0f/s, %.0f us "
                      "of Redis a job" % (n + 1, opt.repetitions, tool,
                                          rates[tool][-1], costs[tool][-1]),
                      file=sys.stderr, flush=True)
    print("| what | tool | jobs/s, median (min–max) | Bellhop is | "
          "Redis' CPU time a job |")
    print("|---|---|---|---|---|")
    for tool in tools:
        ratio = ""
        if tool != "Bellhop":
            ratio = spread([a / b for a, b in zip(
                rates["Bellhop"], rates[tool])], "%.1f") + " ×"
        print("| add and process at once, on one Redis | %s | %s | %s | %s µs "
              "|" % (tool, thousands(rates[tool]), ratio,
                     spread(costs[tool])))
    print(flush=True)


# Figures of Bellhop alone.

def proc_status(pid, name):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def switches(pid):
    """Times that any thread of it was put on a core."""
    n = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task),
                  encoding="ascii") as f:
            n += sum(int(line.split()[1]) for line in f
                     if "ctxt_switches" in line)
    return n


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        part = f.read().rsplit(")", 1)[1].split()
    return (int(part[11]) + int(part[12])) / os.sysconf("SC_CLK_TCK")


def latency(opt):
    rows = {"latency": "add → its Lua handler has completed it (seen by "
                       "JOB.WAIT on a second connection)",
            "fetch": "add → a worker that waits in JOB.FETCH has it"}
    print("| light load | p50 | p95 | p99 |")
    print("|---|---|---|---|")
    for mode, text in rows.items():
        runs = []
        for _ in range(opt.repetitions):
            with Bellhop(opt, handler=mode == "latency") as b:
                runs.append(b.load(mode, "--jobs", opt.latency))
        print("| %s | %s |" % (text, " | ".join(
            spread([r[p] / 1000 for r in runs], "%.2f") + " ms"
            for p in ("p50_us", "p95_us", "p99_us"))))
    print(flush=True)


def memory(opt):
    print("| %d jobs waiting | RSS while filling | RSS after a restart | "
          "bytes for each job | start until the first answer | file |"
          % opt.memory)
    print("|---|---|---|---|---|---|")
    for size in (200, 1024):
        with Bellhop(opt, handler=False) as b:
            b.load("preload", "--jobs", opt.memory, "--size", size)
            filled = proc_status(b.proc.pid, "VmHWM")
            b.stop()
            start = time.monotonic()
            b.start()
            took = time.monotonic() - start
            rss = proc_status(b.proc.pid, "VmRSS")
            file = os.path.getsize(os.path.join(
                b.dir, "state", "bellhop.db"))
        print("| %d-byte payloads | %.0f MiB | %.0f MiB | %.0f | %.2f s | "
              "%.0f MiB |" % (size, filled / 1024, rss / 1024,
                              rss * 1024 / opt.memory, took, file / 2**20),
              flush=True)
    print()


def idle(opt):
    with Bellhop(opt) as b:
        b.load("preload", "--jobs", 10000, "--queue", "later", "--delay",
               86400000)
        held = [socket.create_connection(("127.0.0.1", b.port))
                for _ in range(100)]
        for s in held:
            s.sendall(b"PING\r\n")
            s.recv(64)
        time.sleep(opt.settle)
        before, cpu = switches(b.proc.pid), cpu_seconds(b.proc.pid)
        time.sleep(opt.idle)
        woken = switches(b.proc.pid) - before
        cpu = cpu_seconds(b.proc.pid) - cpu
        rss = proc_status(b.proc.pid, "VmRSS")
    print("| idle, 100 connections, 10,000 delayed jobs | wake-ups/s | "
          "CPU | RSS |")
    print("|---|---|---|---|")
    print("| over %d s | %.1f | %.2f %% | %.1f MiB |\n" % (
        opt.idle, woken / opt.idle, 100 * cpu / opt.idle, rss / 1024),
        flush=True)


def web_part(opt):
    servers = sys.modules[__name__]
    os.makedirs(opt.data, exist_ok=True)
    web.rates(opt, servers, spread, thousands)
    web.idle(opt, servers, proc_status, switches)


class RedisCache(Server):
    """One that keeps nothing but what fits into so much memory."""

    def __init__(self, opt, limit):
        super().__init__(opt, "redis")
        self.limit = limit

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind",
                "127.0.0.1", "--save", "", "--maxmemory", self.limit,
                "--maxmemory-policy", "allkeys-lru", "--dir", self.dir]


def keys_part(opt):
    def bellhop(opt, limit):
        return Bellhop(opt, handler=False,
                       config='cache_memory = "%s";\n' % limit)

    keys.rates(opt, bellhop, RedisCache, spread, thousands, cpu_seconds)
    keys.cache(opt, bellhop, RedisCache, fields, proc_status)


PARTS = {"throughput": throughput, "redis": redis_backend,
         "latency": latency, "memory": memory, "idle": idle,
         "web": web_part, "keys": keys_part}


def machine():
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True,
                              check=False).stdout.split("\n")[0]

    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":")[1].strip() for line in f
                      if line.startswith("model name")), "unknown")
    print("%d cores (%s), Linux %s, %s; %s; node %s; %s\n" % (
        os.cpu_count(), model, platform.release(),
        time.strftime("%Y-%m-%d"), first_line("redis-server", "--version")
        .split(" sha")[0], first_line("node", "--version"),
        first_line("beanstalkd", "-v")), flush=True)


def main():
    p = argparse.ArgumentParser(prog="./setup bench")
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--repetitions", type=int, default=3)
    p.add_argument("--only", choices=PARTS, action="append")
    p.add_argument("--quick", action="store_true",
                   help="a tenth of the jobs: to see that it works")
    p.add_argument("--concurrency", type=int, default=256,
                   help="of the Lua handler (BullMQ's worker has 50)")
    opt = p.parse_args()
    scale = 10 if opt.quick else 1
    opt.drain = 100000 // scale
    opt.mixed = 100000 // scale
    opt.add = 50000 // scale
    opt.latency = 1000 // scale
    opt.memory = 1000000 // scale
    opt.idle = 10
    opt.web_idle = 1000
    opt.web_seconds = 5 if scale == 1 else 1
    opt.calls = 50000 // scale
    opt.settle = 5
    opt.keys = 200000 // scale
    opt.sets = 10000000 // scale
    opt.build = os.path.abspath(opt.build)
    # Beside the build, because /tmp may be memory, where fsync is free.
    opt.data = os.path.join(opt.build, "bench-data")
    machine()
    for name in opt.only or PARTS:
        PARTS[name](opt)
    shutil.rmtree(opt.data, ignore_errors=True)


if __name__ == "__main__":
    main()
