# SPDX-License-Identifier: MIT
"""Each command line of doc/HTTP.md does what the page says, as it stands
there; only the port is another one."""
import json
import os
import re
import shutil
import subprocess

import pytest

from daemon import PATIENCE, TOP, find_binary
from web import Web

HTTP = True
OPTIONS = {"http_hosts": ["inn.lan"]}

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="no curl")


def commands():
    """(command, what the page shows below it)"""
    with open(os.path.join(TOP, "doc", "HTTP.md"), encoding="utf-8") as f:
        blocks = re.findall(r"^```\n(.*?)^```", f.read(), re.M | re.S)
    out = []
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            lines = part.splitlines()
            n = 1
            while lines[n - 1].endswith(("\\", "|")):
                n += 1
            out.append(("\n".join(lines[:n]), "\n".join(lines[n:])))
    return out


def command(part):
    """The one command that has this in it."""
    found = [c for c in commands() if part in c[0]]
    assert len(found) == 1, (part, found)
    return found[0]


@pytest.fixture
def shell(bh, tmp_path):
    """shell(command) is its output; bellhopctl and curl find this daemon."""
    (tmp_path / ".curlrc").write_text("".join(
        'connect-to = "%s:7381:127.0.0.1:%d"\n' % (name, bh.http_port)
        for name in ("localhost", "inn.lan")) + "silent\nshow-error\nfail\n")
    ctl = 'bellhopctl() { "%s" --socket "%s" "$@"; }\n' % (
        find_binary("bellhopctl"), bh.sock)

    def run(line, **env):
        p = subprocess.run(
            ["bash", "-c", "set -o pipefail\n" + ctl + line],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
            env=dict(os.environ, CURL_HOME=str(tmp_path), **env))
        assert p.returncode == 0, (line, p.stdout, p.stderr)
        return p.stdout.strip()

    yield run


def test_every_command_is_known():
    parts = ("-d '{\"to\":\"ana\"}'", "delay=5m", "token add", "$TOKEN",
             "jobs:batch", "/fetch", "/done", "schedules", "topics")
    for line, _ in commands():
        assert any(p in line for p in parts), "no test runs: " + line


def test_adding(shell, c):
    line, shown = next(x for x in commands() if x[0].endswith(
        "mail/jobs -d '{\"to\":\"ana\"}'"))
    got = json.loads(shell(line))
    assert dict(got, id="1") == json.loads(shown)
    assert c.get(got["id"])["payload"] == '{"to":"ana"}'
    got = json.loads(shell(command("delay=5m")[0]))
    job = c.get(got["id"])
    assert (job["state"], job["group"], job["unique"]) == (
        "delayed", "g7", "ana")


def test_a_token(shell, c):
    token = shell(command("token add shop")[0]).split()[-1]
    got = json.loads(shell(command("$TOKEN")[0], TOKEN=token))
    assert c.get(got["id"])["payload"] == "x"


def test_a_batch(shell, c):
    ids = json.loads(shell(command("jobs:batch")[0]))["ids"]
    assert [c.get(i)["payload"] for i in ids] == ['{"n":1}', '{"n":2}']
    assert [c.get(i)["state"] for i in ids] == ["waiting", "delayed"]


def test_a_worker(shell, c):
    id = c.add("print", '{"page":1}')
    line, shown = command("/fetch?")
    job, = json.loads(shell(line))
    told = json.loads(shown.replace(",…", ""))[0]
    assert set(told) <= set(job) and job["payload"] == told["payload"]
    assert len(job["token"]) == len(told["token"])
    line, _ = command("/jobs/7/done")
    assert shell(line.replace("/7/", "/%s/" % id).replace(
        told["token"], job["token"])) == ""
    assert json.loads(c.get(id)["result"]) == {"ok": True}


def test_a_schedule(shell, c):
    assert shell(command("/v1/schedules/night")[0]) == ""
    night, = c.call("SCHEDULE.LIST", "night")
    assert (night["cron"], night["tz"]) == ("0 6 * * *", "Europe/Lisbon")


def test_a_topic(shell, bh):
    line, shown = command("/v1/topics/")
    want = [x for x in shown.splitlines() if x.startswith("data: ")]
    with Web(bh) as w:
        # curl ends when it has shown what the page shows.
        p = subprocess.Popen(
            ["bash", "-c", "exec " + line.replace(
                "localhost:7381", "localhost:%d" % bh.http_port)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            while w.post("/v1/topics/guest.9", b'{"x":1}').json[
                    "receivers"] == 0:
                assert p.poll() is None
            lines = iter(p.stdout.readline, "")
            assert next(x.strip() for x in lines
                        if x.startswith("id: "))[4:].isdigit()
            assert next(x.strip() for x in lines
                        if x.startswith("data: ")) == want[0]
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
