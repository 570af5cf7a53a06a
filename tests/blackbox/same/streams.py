# SPDX-License-Identifier: MIT
"""Streams and consumer groups. Ids are said, as clocks differ; spans of time
are none or far longer than a test."""

GROUPS = ["g1", "g2", "g3"]
CONSUMERS = ["c1", "c2", "c3", ""]
NEVER = "1000000"               # ms: nothing is idle for so long
LONG = "10000000"               # ms: said to be idle for longer


def parse(raw):
    """The value of an answer, as nested lists."""
    at = 0

    def value():
        nonlocal at
        end = raw.index(b"\r\n", at)
        line, at = raw[at:end], end + 2
        kind = line[:1]
        if kind in b"$=" and line[1:2] != b"-":
            n = int(line[1:])
            at += n + 2
            return raw[at - n - 2:at - 2]
        if kind in b"*~>" and line[1:2] != b"-":
            return [value() for _ in range(int(line[1:]))]
        if kind == b"%":
            return [value() for _ in range(2 * int(line[1:]))]
        return int(line[1:]) if kind == b":" else line
    return value()


def near(a, b):
    return isinstance(a, int) and isinstance(b, int) and abs(a - b) < 100000


def same_pending(command, ours, theirs):
    """How long an entry has been idle differs by some milliseconds."""
    a, b = parse(ours), parse(theirs)
    if not isinstance(a, list) or not isinstance(b, list) or len(a) != len(b):
        return False
    return all(isinstance(x, list) and isinstance(y, list) and
               len(x) == len(y) == 4 and near(x[2], y[2]) and
               x[:2] + x[3:] == y[:2] + y[3:] for x, y in zip(a, b))


def same_info(command, ours, theirs):
    """Nodes of Redis' tree are not ours; times differ by some milliseconds."""
    def same(a, b):
        if isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            return all(
                same(x, y) or (i > 0 and a[i - 1] in (
                    b"radix-tree-keys", b"radix-tree-nodes"))
                for i, (x, y) in enumerate(zip(a, b)))
        return a == b or (near(a, b) and abs(a) > 10 ** 6) or (
            near(a, b) and b"CONSUMERS" == command[1].upper().encode())
    return same(parse(ours), parse(theirs))


COMPARE = {"XPENDING": same_pending, "XINFO": same_info}


class Words:
    def __init__(self, m):
        self.m, self.r = m, m.rng

    def key(self):
        return self.m.key("stream")

    def group(self):
        return self.r.choice(GROUPS + GROUPS + ["none"])

    def consumer(self):
        return self.r.choice(CONSUMERS)

    def id(self):
        r = self.r
        if r.random() < 0.06:
            return r.choice(["x", "", "1-x", "-1", "5-", "-", "+", "007-1",
                             "18446744073709551616-0", "1-1-1", "$", ">",
                             "18446744073709551615-18446744073709551615",
                             "9" * 200, "1-*", " 3", "0-0", "0"])
        return r.choice(["%d-%d" % (r.randrange(30), r.randrange(4)),
                         "%d" % r.randrange(30)])

    def ids(self):
        return [self.id() for _ in range(self.r.randrange(1, 4))]

    def end(self):
        r = self.r.random()
        if r < 0.3:
            return self.r.choice(["-", "+"])
        return ("(" if r < 0.5 else "") + self.id()

    def count(self):
        return self.m.maybe(0.4, self.m.word("COUNT"), self.m.small())

    def new_id(self):
        """Ever greater, mostly, so that streams grow."""
        r = self.r
        return r.choice(["%d-*" % r.randrange(30), "%d-*" % r.randrange(30),
                         self.id(), "%d" % r.randrange(40, 60)])

    def trim(self):
        r, m = self.r, self.m
        how = r.choice([
            [m.word("MAXLEN"), m.small()], [m.word("MINID"), self.id()],
            ["MAXLEN", "=", m.small()], ["MINID", "=", self.id()],
            ["MAXLEN", "~", "1000"], ["MINID", "~", "0-1"],
            ["MAXLEN", "~", "1000", "LIMIT", m.small()],
            ["MAXLEN", "1", "LIMIT", "1"], ["MAXLEN"], ["LIMIT", "3"],
            ["MAXLEN", "1", "MINID", "1"], ["MAXLEN", "~"]])
        return how

    def xadd(self):
        m = self.m
        out = ["XADD", self.key()] + m.maybe(0.15, "NOMKSTREAM")
        if self.r.random() < 0.25:
            out += self.trim()
        out.append(self.new_id())
        for _ in range(self.r.choice([1, 1, 1, 2, 3])):
            out += [m.member(), m.value()]
        if self.r.random() < 0.04:
            out.pop()
        return out

    def streams(self, last):
        n = self.r.choice([1, 1, 1, 2])
        out = [self.m.word("STREAMS")] + [self.key() for _ in range(n)] + \
            [self.r.choice(last + [self.id()]) for _ in range(n)]
        return out + self.m.maybe(0.03, "extra")

    def block(self):
        # Twice none, once a wait in vain: as nothing comes meanwhile.
        return self.r.choice([[], [], [], ["BLOCK", "1"], ["BLOCK", "-1"],
                              ["BLOCK", "x"], ["COUNT"], ["NOACK"]]) \
            if self.r.random() < 0.2 else []

    def xread(self):
        return ["XREAD"] + self.count() + self.block() + \
            self.m.maybe(0.03, "GROUP", "g1", "c1") + \
            self.streams(["$", "0", "0", "0-0", ">"])

    def xreadgroup(self):
        return ["XREADGROUP"] + self.m.maybe(
            0.97, self.m.word("GROUP"), self.group(), self.consumer()) + \
            self.count() + self.block() + self.m.maybe(0.15, "NOACK") + \
            self.streams([">", ">", ">", ">", "0", "$"])

    def xgroup(self):
        m, r = self.m, self.r
        opts = m.maybe(0.5, "MKSTREAM") + m.maybe(
            0.2, "ENTRIESREAD", m.small())
        read = m.maybe(0.3, "ENTRIESREAD", m.small())
        at = r.choice(["$", "0", "0", self.id()])
        return ["XGROUP"] + r.choice([
            [m.word("CREATE"), self.key(), self.group(), at] + opts,
            ["CREATE", self.key(), self.group(), at] + opts,
            [m.word("SETID"), self.key(), self.group(), at] + read,
            ["CREATECONSUMER", self.key(), self.group(), self.consumer()],
            ["DELCONSUMER", self.key(), self.group(), self.consumer()],
            ["DESTROY", self.key(), self.group()],
            ["CREATE", self.key()], ["DESTROY", self.key()], ["OOPS"],
            ["SETID", self.key(), self.group(), at, "MKSTREAM"]])

    def xpending(self):
        m = self.m
        out = ["XPENDING", self.key(), self.group()]
        if self.r.random() < 0.3:
            return out + m.maybe(0.1, "-")
        out += m.maybe(0.2, "IDLE", self.r.choice(["0", NEVER, "x"]))
        return out + [self.end(), self.end(), m.small()] + \
            m.maybe(0.4, self.consumer()) + m.maybe(0.03, "more")

    def claim_opts(self):
        m, r = self.m, self.r
        out = []
        for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
            out += r.choice([
                ["FORCE"], ["JUSTID"], ["IDLE", LONG], ["IDLE", "x"],
                ["IDLE", "-5"], ["TIME", "1"], ["TIME", "x"],
                ["RETRYCOUNT", m.small()], ["LASTID", self.id()],
                ["oops"], ["idle"]])
        return out

    def min_idle(self):
        return self.r.choice(["0", "0", "0", NEVER, NEVER, "-1", "x"])

    def xclaim(self):
        return ["XCLAIM", self.key(), self.group(), self.consumer(),
                self.min_idle()] + self.ids() + self.claim_opts()

    def xautoclaim(self):
        m = self.m
        return ["XAUTOCLAIM", self.key(), self.group(), self.consumer(),
                self.min_idle(), self.r.choice(["0", "-", self.end()])] + \
            self.count() + m.maybe(0.3, m.word("JUSTID"))

    def xinfo(self):
        m, r = self.m, self.r
        return ["XINFO"] + r.choice([
            [m.word("STREAM"), self.key()],
            ["STREAM", self.key(), m.word("FULL")],
            ["STREAM", self.key(), "FULL", "COUNT", m.small()],
            [m.word("GROUPS"), self.key()], ["STREAM"], ["OOPS", "x1"],
            [m.word("CONSUMERS"), self.key(), self.group()],
            ["CONSUMERS", self.key()], ["STREAM", self.key(), "FULL", "x"]])

    def xsetid(self):
        return ["XSETID", self.key(), self.id()] + self.m.maybe(
            0.3, "ENTRIESADDED", self.m.small()) + self.m.maybe(
            0.3, "MAXDELETEDID", self.id())


def commands(m):
    w = Words(m)
    r = m.rng
    return [
        w.xadd, w.xadd, w.xadd, w.xadd, w.xread, w.xreadgroup, w.xreadgroup,
        w.xreadgroup, w.xgroup, w.xgroup, w.xpending, w.xclaim, w.xautoclaim,
        w.xinfo, w.xsetid,
        lambda: ["XLEN", w.key()],
        lambda: ["XRANGE", w.key(), w.end(), w.end()] + w.count(),
        lambda: ["XREVRANGE", w.key(), w.end(), w.end()] + w.count(),
        lambda: ["XDEL", w.key()] + w.ids(),
        lambda: ["XTRIM", w.key()] + w.trim(),
        lambda: ["XACK", w.key(), w.group()] + w.ids(),
        lambda: ["XACK", w.key(), w.group()] + w.ids(),
        lambda: [r.choice(["TYPE", "EXISTS"]), w.key()],
        lambda: ["COPY", w.key(), w.key()] + m.maybe(0.5, "REPLACE"),
        lambda: ["RENAME", w.key(), w.key()],
        lambda: ["DEL", w.key()] if r.random() < 0.3 else ["XLEN", w.key()],
    ]
