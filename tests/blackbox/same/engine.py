# SPDX-License-Identifier: MIT
"""Runs random commands on both servers, compares, and shrinks what fails."""
import importlib
import os
import pkgutil
import time

import same
from resp import Closed
from same.maker import Maker

# So many at once, so many before both begin anew with no key at all.
BATCH = 100
ROUND = 2000
SHRINK_S = 20


def modules():
    """Those that make commands, or those of them that the tester names."""
    names = os.environ.get("BELLHOP_SAME_ONLY")
    names = names.split(",") if names else sorted(
        m.name for m in pkgutil.iter_modules(same.__path__))
    found = [importlib.import_module("same." + n) for n in names]
    return [m for m in found if hasattr(m, "commands")]


class Pair:
    """Both servers, in one version of the protocol."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.compare = {}
        for m in modules():
            self.compare.update(getattr(m, "COMPARE", {}))

    def flush(self):
        for client in (self.ours, self.theirs):
            client.call("FLUSHALL")

    def differs(self, command, ours, theirs):
        if ours == theirs:
            return False
        f = self.compare.get(command[0].upper())
        return not (f and f(command, ours, theirs))

    def ask(self, batch):
        """The first difference: its index and both answers, or None."""
        self.ours.begin(batch)
        self.theirs.begin(batch)
        answers = zip(batch, self.ours.end(batch), self.theirs.end(batch))
        first = None
        for i, (command, ours, theirs) in enumerate(answers):
            if not first and self.differs(command, ours, theirs):
                first = i, ours, theirs
        return first

    def fails(self, commands):
        self.flush()
        for at in range(0, len(commands), 1000):
            found = self.ask(commands[at:at + 1000])
            if found:
                return at + found[0], found[1], found[2]
        return None

    def shrink(self, commands):
        """The fewest of the commands, in order, that still differ. They may
        fail only now and then: what does not, stays."""
        end = time.monotonic() + SHRINK_S
        found = self.fails(commands)
        if not found:
            return commands, None
        commands = commands[:found[0] + 1]
        size = len(commands) // 2
        while size > 0 and time.monotonic() < end:
            at = 0
            while at < len(commands) and time.monotonic() < end:
                less = commands[:at] + commands[at + size:]
                now = self.fails(less) if less else None
                if now:
                    commands, found = less[:now[0] + 1], now
                else:
                    at += size
            size //= 2
        return commands, found


class Difference(AssertionError):
    pass


def report(seed, commands, ours, theirs, found):
    lines = ["BELLHOP_SAME_SEED=%d" % seed, "%d commands, from an empty database:" % len(commands)]
    lines += ["    %r," % (c,) for c in commands[-BATCH:]]
    if not found:
        lines.append("which did not fail again when they were repeated")
    lines += ["ours   %r" % ours[:2000], "theirs %r" % theirs[:2000]]
    return "\n".join(lines)


def run(pair, seed, proto, count):
    """So many commands; a difference is raised with a sequence that shows it.
    """
    maker = Maker(seed + proto)
    makers = [f for m in modules() for f in m.commands(maker)]
    done = 0
    while done < count:
        pair.flush()
        history = []
        while len(history) < ROUND and done + len(history) < count:
            batch = []
            while len(batch) < BATCH:
                c = maker.rng.choice(makers)()
                batch += c if isinstance(c[0], list) else [c]
            try:
                found = pair.ask(batch)
            except Closed as e:
                raise Difference(report(
                    seed, history + batch, b"", str(e).encode(), None)) from e
            if found:
                history += batch[:found[0] + 1]
                few, again = pair.shrink(history)
                raise Difference(report(
                    seed, few, *(again or found)[1:], again))
            history += batch
        done += len(history)
