# SPDX-License-Identifier: MIT
"""The rows about HTTP: what comes in through the door, what handlers call, and
what an open door costs. Figures of a load generator's ceiling on this machine
(answer.c) stand beside them."""
import hashlib
import hmac
import json
import os
import re
import socket
import subprocess
import sys
import time

SECRET = "a secret of the benchmark"
HOOK = """return { queue = "bench", concurrency = 256,
  hook = { name = "bench", secret = "bench", signature = "hmac-sha256",
           header = "X-Signature",
           accept = function(req)
             return { data = req.json, group = req.json.guest }
           end },
  perform = function(job) end }
"""
CALLER = """return { queue = "call", concurrency = 64,
  perform = function(job)
    local res = http.post("http://127.0.0.1:%d/send", { json = job.data })
    if res.status ~= 200 then error("answered " .. res.status) end
  end }
"""
WRK = """wrk.method = "POST"
wrk.body = %s
%s
local bad = 0
function response(status) if status ~= %d then bad = bad + 1 end end
"""


def body():
    data = {"guest": "9", "text": ""}
    data["text"] = "x" * (200 - len(json.dumps(data)))
    return json.dumps(data)


def wrk(opt, url, expected, headers=None):
    """Requests a second of 50 keep-alive connections; every answer must have
    the expected status."""
    path = os.path.join(opt.data, "wrk.lua")
    lines = "\n".join('wrk.headers["%s"] = "%s"' % h
                      for h in (headers or {}).items())
    with open(path, "w", encoding="ascii") as f:
        f.write(WRK % (json.dumps(body()), lines, expected))
    out = subprocess.run(
        ["wrk", "-t1", "-c50", "-d%ds" % opt.web_seconds, "-s", path, url],
        check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit("bench: wrk %s:\n%s" % (url, out))
    return float(re.search(r"Requests/sec:\s*([0-9.]+)", out).group(1))


def ceiling(opt, servers):
    with servers.Answer(opt) as a:
        return wrk(opt, "http://%s/v1/queues/kept/jobs" % a.addr, 200)


def add(opt, servers):
    with servers.Bellhop(opt, http=True) as b:
        b.call("QUEUE.PAUSE kept")
        return wrk(opt, b.url + "/v1/queues/kept/jobs", 202)


def hook(opt, servers):
    with servers.Bellhop(opt, http=True, scripts={"hook.lua": HOOK},
                         secrets={"bench": SECRET}) as b:
        sign = hmac.new(SECRET.encode(), body().encode(), hashlib.sha256)
        b.call("QUEUE.PAUSE bench")
        return wrk(opt, b.url + "/hooks/bench", 202,
                   {"X-Signature": "sha256=" + sign.hexdigest(),
                    "Content-Type": "application/json"})


def call(opt, servers):
    """Jobs a second of handlers that make one HTTP call each, 64 at once."""
    with servers.Answer(opt) as a, servers.Bellhop(
            opt, scripts={"call.lua": CALLER % a.port}) as b:
        b.call("QUEUE.PAUSE call")
        b.load("preload", "--jobs", opt.calls, "--queue", "call")
        began = time.monotonic()
        b.call("QUEUE.RESUME call")
        while b.figure("call", "processed_total") < opt.calls:
            time.sleep(0.01)
            if time.monotonic() - began > 120:
                sys.exit("bench: the calls do not end")
        took = time.monotonic() - began
        if b.figure("call", "failed_total") or b.figure("call", "delayed"):
            sys.exit("bench: calls failed")
        return opt.calls / took


def rates(opt, servers, spread, thousands):
    rows = [("POST /v1/queues/…/jobs, 202 after the fsync", add),
            ("POST /hooks/…: HMAC, accept() in Lua, 202 after the fsync",
             hook)]
    seen = {name: [] for name, _ in rows}
    top, calls = [], []
    for n in range(opt.repetitions):
        top.append(ceiling(opt, servers))
        for name, measure in rows:
            seen[name].append(measure(opt, servers))
        calls.append(call(opt, servers))
        print("  %d/%d web: %s" % (n + 1, opt.repetitions, ", ".join(
            "%.0f/s" % v for v in [top[-1]] +
            [seen[name][-1] for name, _ in rows] + calls[-1:])),
            file=sys.stderr, flush=True)
    print("| what, 50 keep-alive connections | a second, median (min–max) |"
          " of the ceiling |")
    print("|---|---|---|")
    print("| the least that a server can do (answer.c) | %s | |"
          % thousands(top))
    for name, _ in rows:
        print("| %s | %s | %s |" % (name, thousands(seen[name]), spread(
            [a / b for a, b in zip(seen[name], top)], "%.2f")))
    print("| jobs whose Lua handler makes one HTTP call, 64 at once | %s | |"
          % thousands(calls))
    print(flush=True)


def idle(opt, servers, status, switches):
    with servers.Bellhop(opt, http=True) as b:
        empty = status(b.proc.pid, "VmRSS")
        host, port = b.url[len("http://"):].split(":")
        held = [socket.create_connection((host, int(port)))
                for _ in range(opt.web_idle)]
        for s in held:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for s in held:
            s.recv(4096)
        time.sleep(opt.settle)
        before = switches(b.proc.pid)
        time.sleep(opt.idle)
        woken = switches(b.proc.pid) - before
        rss = status(b.proc.pid, "VmRSS")
    print("| idle, %d keep-alive HTTP connections | RSS before | with them | "
          "wake-ups/s |" % opt.web_idle)
    print("|---|---|---|---|")
    print("| over %d s | %.1f MiB | %.1f MiB | %.1f |\n" % (
        opt.idle, empty / 1024, rss / 1024, woken / opt.idle), flush=True)
