# SPDX-License-Identifier: MIT
"""Plugins: what is loaded, what is refused, and why."""
import http.client
import os
import shutil
import subprocess
import textwrap

import pytest

from daemon import TOP, plugin_dir, wait_until
from exposition import parse, value
from resp import Closed, RespError

SOURCE = """
#include <stdio.h>
#include "plugin.h"

static int
init(const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	(void)host;
%s
	return 0;
}

const struct bh_plugin %s = {.abi = BH_ABI + %d, .name = "%s", .version = "1",
    .init = %s};
"""


def compile_plugin(source, to, *flags):
    cc = os.environ.get("CC", "cc").split()
    if not shutil.which(cc[0]):
        pytest.skip("there is no C compiler")
    subprocess.run([*cc, "-std=gnu11", "-fPIC", "-shared", *flags, "-o", to,
                    source], check=True)


def build(d, name, calls="", symbol="bellhop_plugin", abi=0, own=None,
          init="init"):
    """A plugin of the test's own in the daemon's plugin_dir."""
    where = os.path.join(d.root, "plugins")
    os.makedirs(where, exist_ok=True)
    source = os.path.join(where, name + ".c")
    with open(source, "w", encoding="utf-8") as f:
        f.write(SOURCE % (calls, symbol, abi, own or name, init))
    compile_plugin(source, os.path.join(where, name + ".so"), "-w",
                   "-I" + os.path.join(TOP, "src"))
    d.write_config({"plugin_dir": where, "plugins": [name]})
    return os.path.join(where, name + ".so")


def refused(d):
    """What it says, and that --check says the same."""
    status, err = d.refused()
    assert status == 1
    check = d.check_config()
    assert check.status == 1
    said = err[err.index("plugin '"):].split("\n")[0]
    assert said in check.err
    return said


def test_a_missing_file_is_named(make):
    d = make({"plugins": ["teleport"]}, start=False)
    d.write_config({"plugin_dir": d.root})
    assert refused(d) == ("plugin 'teleport': %s/teleport.so does not exist;"
                          " install it, or take it out of 'plugins'" % d.root)


def test_what_is_no_shared_object_is_refused(make):
    d = make({"plugins": ["text"]}, start=False)
    path = os.path.join(d.root, "text.so")
    with open(path, "w", encoding="utf-8") as f:
        f.write("not an object\n")
    d.write_config({"plugin_dir": d.root})
    said = refused(d)
    assert said.startswith(
        "plugin 'text': %s cannot be loaded: " % path)
    assert said.count(path) == 1


def test_an_object_without_the_symbol_is_refused(make):
    d = make(start=False)
    path = build(d, "other", symbol="other_plugin")
    assert refused(d) == (
        "plugin 'other': %s is no plugin of Bellhop: it does not export"
        " 'bellhop_plugin'" % path)


def test_another_abi_is_refused_with_both_numbers(make):
    d = make(start=False)
    path = build(d, "future", abi=7)
    said = refused(d)
    assert path in said
    assert "version 7 of the plugin interface" in said
    assert "this bellhopd has version 0" in said


def test_another_name_is_refused(make):
    d = make(start=False)
    path = build(d, "mine", own="yours")
    assert refused(d) == "plugin 'mine': %s calls itself 'yours'" % path


def test_a_plugin_without_init_is_refused(make):
    d = make(start=False)
    path = build(d, "idle", init="0")
    assert refused(d) == "plugin 'idle': %s has no init()" % path


@pytest.mark.embedded("a plugin_dir of its own")
def test_what_init_says_is_the_reason(make):
    d = make(start=False)
    build(d, "moody", 'snprintf(err, BH_ERROR_TEXT, "not before noon");'
          "\n	return -1;")
    assert refused(d) == "plugin 'moody': not before noon"


@pytest.mark.embedded("a plugin_dir of its own")
def test_an_option_that_does_not_exist_is_a_bug_of_the_plugin(make):
    d = make(start=False)
    build(d, "curious", 'host->option_int("no_such_option");')
    d.spawn()
    assert d.wait_exit() < 0
    assert "'no_such_option', which does not exist" in d.err_text()
    os.unlink(d.stderr)             # it is meant to die of a bug


@pytest.mark.embedded("a plugin_dir of its own")
def test_an_unknown_backend_is_refused(make):
    d = make(start=False)
    d.write_config(config='backend = { type = "oracle"; };')
    status, err = d.refused()
    assert status == 1
    said = ("backend.type: there is no backend 'oracle'; known are embedded,"
            " and those that plugins bring")
    assert said in err
    check = d.check_config()
    assert check.status == 1 and said in check.err


def test_the_skeleton_comes_and_goes(make):
    d = make(plugins=["skeleton"])
    assert "plugin skeleton 1" in d.err_text()
    assert d.check_config().status == 0
    d.stop()
    text = d.err_text()
    assert text.index("here plugin=skeleton") < text.index(
        "gone plugin=skeleton")


def test_the_skeleton_refuses(make):
    d = make(plugins=["skeleton"], start=False,
             env={"BELLHOP_SKELETON_REFUSE": "1"})
    status, err = d.refused()
    assert status == 1
    assert "plugin 'skeleton': BELLHOP_SKELETON_REFUSE is set" in err


def test_the_skeletons_library_for_scripts(make):
    d = make(plugins=["skeleton"], scripts={"s.lua": """
return {
  queue = "s",
  perform = function(job)
    return { global = skeleton.answer(), required = require("skeleton").answer() }
  end,
}
"""})
    c = d.client()
    job = c.call("JOB.WAIT", c.add("s", "x"), 30000)
    assert job["state"] == "completed", job
    assert '"global":42' in job["result"] and '"required":42' in job["result"]


# What a door of a plugin has in common with the built-in one.

def http_client(d):
    h = http.client.HTTPConnection("127.0.0.1", d.http_port, timeout=60)
    h.request("GET", "/version")
    r = h.getresponse()
    r.read()
    assert r.status == 200
    return h


def test_connections_of_a_door_are_seen(make):
    d = make(http=True)
    c = d.client()
    m = parse(c.call("BELLHOP", "METRICS"))
    assert ("", (("door", "http"),)) not in m["bellhop_connections"].samples
    h = http_client(d)
    mine = "addr=127.0.0.1:%d " % h.sock.getsockname()[1]
    assert mine in c.call("CLIENT", "LIST")
    m = parse(c.call("BELLHOP", "METRICS"))
    assert value(m, "bellhop_connections", door="http") == 1
    h.close()
    wait_until(lambda: mine not in c.call("CLIENT", "LIST"),
               "the end of the connection")


def test_doors_share_max_connections(make):
    d = make({"max_connections": 2}, http=True)
    c = d.client()
    h = http_client(d)
    with pytest.raises((Closed, RespError)):
        d.client()
    with pytest.raises((OSError, http.client.HTTPException)):
        http_client(d)
    h.close()
    c.call("PING")
    wait_until(lambda: "127.0.0.1" not in c.call("CLIENT", "LIST"),
               "the end of the connection")
    http_client(d).close()


def test_a_killed_connection_has_no_rights(make):
    d = make(http=True)
    c = d.client()
    h = http_client(d)
    addr = "127.0.0.1:%d" % h.sock.getsockname()[1]
    assert c.call("CLIENT", "KILL", "ADDR", addr) == 1
    try:
        h.request("GET", "/v1/queues")
        assert h.getresponse().status == 401
    except (OSError, http.client.HTTPException):
        pass                    # it is closed: as well


@pytest.mark.embedded("a plugin_dir of its own")
def test_the_example_of_the_readme(make):
    with open(os.path.join(TOP, "plugins", "README.md"),
              encoding="utf-8") as f:
        text = textwrap.dedent(f.read().split("```c\n")[1].split("```")[0])
    d = make(start=False)
    include = os.path.join(d.root, "include", "bellhop")
    os.makedirs(include)
    shutil.copy(os.path.join(TOP, "src", "plugin.h"), include)
    source = os.path.join(d.root, "hello.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write(textwrap.dedent(text))
    compile_plugin(source, os.path.join(d.root, "hello.so"), "-Wall",
                   "-Wextra", "-Werror", "-fvisibility=hidden",
                   "-I" + os.path.dirname(include))
    d.write_config({"plugin_dir": d.root, "plugins": ["hello"]})
    d.start()
    c = d.client()
    c.add("q", "x")
    c.done(c.fetch1("q"))
    m = parse(c.call("BELLHOP", "METRICS"))
    assert value(m, "bellhop_hello_completed_total") == 1


def test_plugins_export_nothing_else():
    path = os.path.join(plugin_dir(), "skeleton.so")
    if not shutil.which("nm"):
        pytest.skip("there is no nm")
    out = subprocess.run(["nm", "-D", "--defined-only", path], check=True,
                         capture_output=True, text=True).stdout
    names = [line.split()[2] for line in out.splitlines()]
    assert [n for n in names if not n.startswith("_")] == ["bellhop_plugin"]
