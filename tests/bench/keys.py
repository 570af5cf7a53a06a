# SPDX-License-Identifier: MIT
"""Volatile keys beside Redis: commands a second, and a cache in use."""
import re
import subprocess
import sys

COMMANDS = (("SET", ["SET", "cache:__rand_int__", "v" * 100]),
            ("GET", ["GET", "cache:__rand_int__"]))
CACHE_MIB = 64


def benchmark(server, command, pipeline, n):
    """Commands a second, as redis-benchmark sees them."""
    p = subprocess.run(
        ["redis-benchmark", "-p", str(server.port), "-c", "50", "-P",
         str(pipeline), "-n", str(n), "-r", "100000", "-q"] + command,
        capture_output=True, text=True, check=False, timeout=600)
    found = re.findall(r"([\d.]+) requests per second", p.stdout)
    if p.returncode != 0 or not found:
        sys.exit("bench: redis-benchmark failed: " + p.stdout + p.stderr)
    return float(found[-1])


def rates(opt, bellhop, redis, spread, thousands, cpu_seconds):
    """Both run all the time and take turns."""
    out, work = {}, {}
    with bellhop(opt, "256MiB") as ours, redis(opt, "256mb") as theirs:
        for n in range(opt.repetitions):
            for pipeline, count in ((1, opt.keys), (16, 10 * opt.keys)):
                for name, command in COMMANDS:
                    for tool, server in (("Bellhop", ours),
                                         ("Redis", theirs)):
                        key = name, pipeline, tool
                        cpu = cpu_seconds(server.proc.pid)
                        rate = benchmark(server, command, pipeline, count)
                        cpu = cpu_seconds(server.proc.pid) - cpu
                        out.setdefault(key, []).append(rate)
                        work.setdefault(key, []).append(cpu * 1e6 / count)
                        print("  %d/%d %s, pipeline %d, %s: %.0f/s" % (
                            n + 1, opt.repetitions, name, pipeline, tool,
                            rate), file=sys.stderr, flush=True)
    print("| volatile keys, 50 connections | tool | commands/s, "
          "median (min–max) | Bellhop is | CPU for one |")
    print("|---|---|---|---|---|")
    for (name, pipeline, tool), values in out.items():
        ratio = "" if tool == "Bellhop" else spread(
            [a / b for a, b in zip(out[name, pipeline, "Bellhop"], values)],
            "%.2f") + " ×"
        print("| %s, pipeline %d | %s | %s | %s | %s µs |" % (
            name, pipeline, tool, thousands(values), ratio,
            spread(work[name, pipeline, tool], "%.2f")))
    print(flush=True)


def cache(opt, bellhop, redis, fields, proc_status):
    print("| a cache of %d MiB, %s times SET | entries | hits | an exact LRU "
          "| peak RSS past the cache | one GET meanwhile: p50, p99 "
          "| p99 of the worst second |" % (CACHE_MIB, format(opt.sets, ",")))
    print("|---|---|---|---|---|---|---|")
    for tool, make in (("Bellhop", lambda: bellhop(opt, "%dMiB" % CACHE_MIB)),
                       ("Redis, allkeys-lru",
                        lambda: redis(opt, "%dmb" % CACHE_MIB))):
        with make() as s:
            f = fields([opt.build + "/tests/bench/cache", "--addr", s.addr,
                        "--sets", str(opt.sets)])
            peak = proc_status(s.proc.pid, "VmHWM") / 1024 - CACHE_MIB
        print("| %s | %d | %.2f %% | %.2f %% | %.1f MiB | %.2f ms, %.2f ms "
              "| %.2f ms |" % (
                  tool, f["entries"], 100 * f["hits"], 100 * f["ideal"],
                  peak, f["p50_us"] / 1000, f["p99_us"] / 1000,
                  f["worst_us"] / 1000), flush=True)
    print()
