# SPDX-License-Identifier: MIT
"""Fixtures. A module says what daemon it wants by OPTIONS, CONFIG, SCRIPTS,
ENV, PLUGINS and HTTP; its tests share that one, each on queues of its own."""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from daemon import Daemon  # noqa: E402

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared(request):
    mod = request.module
    d = Daemon(getattr(mod, "OPTIONS", None), getattr(mod, "CONFIG", ""),
               getattr(mod, "SCRIPTS", None), getattr(mod, "ENV", None),
               getattr(mod, "PLUGINS", ()), getattr(mod, "HTTP", False))
    prepare = getattr(mod, "prepare", None)
    if prepare:
        prepare(d)
    try:
        d.start()
        yield d
    finally:
        d.destroy()


@pytest.fixture
def bh(shared):
    """The module's daemon, at work."""
    if shared.dead():
        # A test before this one brought it down, and has failed for it.
        shared.proc = None
        shared.start()
    yield shared
    shared.check_stderr()
    assert not shared.dead(), "bellhopd has ended:\n" + \
        shared.err_text()[-4000:]


@pytest.fixture
def c(bh):
    """A RESP3 connection over the unix socket."""
    with bh.client() as client:
        yield client


@pytest.fixture
def q():
    """The name of an unused queue."""
    return "q%d" % next(numbers)


@pytest.fixture
def named():
    """named("rate1") is an unused queue that the pattern rate1.* matches."""
    return lambda prefix: "%s.%d" % (prefix, next(numbers))


@pytest.fixture
def make():
    """make(...) is a daemon of the test's own, started unless told not to."""
    made = []

    def maker(options=None, config="", scripts=None, env=None, start=True,
              plugins=(), http=False):
        d = Daemon(options, config, scripts, env, plugins, http)
        made.append(d)
        return d.start() if start else d

    yield maker
    errors = []
    for d in made:
        try:
            d.destroy()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "embedded(why): not run with another backend")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("embedded")
        if mark and os.environ.get("BELLHOP_TEST_BACKEND", "") != "":
            item.add_marker(pytest.mark.skip(
                reason="embedded only: " + mark.args[0]))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for d in Daemon.running:
            report.sections.append((
                "standard error of bellhopd in " + d.root,
                d.err_text()[-6000:]))
