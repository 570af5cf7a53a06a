# SPDX-License-Identifier: MIT
"""Sorted sets. Ranges by name are asked of keys whose members have one score:
of others nobody promises anything."""
from same.compare import same_length, split
from same.lists import timeout

# One score, and nothing else ever.
LEX = ["zl1", "zl2"]


def score(m):
    r = m.rng.random()
    if r < 0.6:
        return str(m.rng.randrange(-5, 12))
    if r < 0.95:
        return m.rng.choice([
            "1.5", "-2.25", "0.1", "3.1", "1e20", "1e-7", "-0", "inf", "-inf",
            "+inf", "123456789012345678", "0.30000000000000004", "1e300",
            "4503599627370497", "9007199254740993", "0x10", "1e15", "1e16",
            "1e17", "99999999999999999", "1.7976931348623157e308"])
    return m.value()


def bound(m):
    b = score(m) if m.rng.random() < 0.9 else m.rng.choice(
        ["", " 1", "(", "((1", "x", "nan", "[1", "1 "])
    return "(" + b if m.rng.random() < 0.3 else b


def name_bound(m):
    if m.rng.random() < 0.2:
        return m.rng.choice(["-", "+", "-", "+", "x", "", "-x", "(", "["])
    return m.rng.choice("([") + m.rng.choice("abcdefgh") * \
        m.rng.randrange(3)


def rank(m):
    return m.small()


def limit(m):
    return m.maybe(0.4, "LIMIT", m.small(), m.small())


def add_flags(m):
    out = []
    for _ in range(m.rng.choice([0, 0, 0, 1, 1, 2])):
        out.append(m.rng.choice(["NX", "XX", "GT", "LT", "CH", "INCR", "ch",
                                 "BAD"]))
    return out


def pairs(m, most=5):
    out = []
    for _ in range(m.rng.randrange(1, most)):
        out += [score(m), m.member()]
    if m.rng.random() < 0.05:
        out.pop()
    return out


def options(m):
    """Of ZRANGE, in any order."""
    out = [limit(m), m.maybe(0.3, "REV"), m.maybe(0.3, "WITHSCORES"),
           m.maybe(0.03, "OOPS")]
    m.rng.shuffle(out)
    return sum(out, [])


def zrange(m, key):
    return m.rng.choice([
        lambda: [key, rank(m), rank(m)] + options(m),
        lambda: [key, bound(m), bound(m), "BYSCORE"] + options(m),
        lambda: [key, bound(m), bound(m)] + options(m) + ["BYSCORE"],
        lambda: [m.rng.choice(LEX), name_bound(m), name_bound(m),
                 "BYLEX"] + options(m)])()


def sources(m, options):
    """numkeys, keys, options: also of sets."""
    keys = [m.key("zset" if m.rng.random() < 0.8 else "set")
            for _ in range(m.rng.randrange(1, 4))]
    n = str(len(keys)) if m.rng.random() < 0.96 else m.rng.choice(
        ["0", "-1", "x", "9", "9223372036854775807"])
    out = [n] + keys
    if "W" in options and m.rng.random() < 0.3:
        out += ["WEIGHTS"] + [score(m) for _ in keys]
    if "A" in options and m.rng.random() < 0.3:
        out += ["AGGREGATE", m.word("SUM", "MIN", "MAX")]
    if "S" in options and m.rng.random() < 0.5:
        out += [m.word("WITHSCORES")]
    if "L" in options and m.rng.random() < 0.5:
        out += ["LIMIT", m.small()]
    return out + m.maybe(0.03, m.rng.choice(
        ["OOPS", "WEIGHTS", "AGGREGATE", "LIMIT", "WITHSCORES"]))


def mpop(m, keys):
    n = str(len(keys)) if m.rng.random() < 0.95 else m.rng.choice(
        ["0", "-1", "x", "9"])
    return [n] + keys + [m.word("MIN", "MAX")] + m.rng.choice(
        [[], [], ["COUNT", "2"], ["COUNT", "100"], ["COUNT", m.small()],
         ["COUNT"], ["COUNT", "1", "COUNT", "1"], ["MORE", "1"]])


def waiting(m):
    r = m.rng
    keys = m.keys("zset", 3)
    first = [["ZADD", keys[-1], score(m), m.member()]] \
        if r.random() < 0.8 else []
    return first + [r.choice([
        lambda: [r.choice(["BZPOPMIN", "BZPOPMAX"])] + keys + [timeout(m)],
        lambda: ["BZMPOP", timeout(m)] + mpop(m, keys)])()]


def commands(m):
    r, v = m.rng, m.member

    def k():
        return m.key("zset")

    def lex():
        return r.choice(LEX)

    def name():
        return r.choice("abcdefgh") * r.randrange(4)

    def any_range():
        return r.choice(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"])

    def sample():
        n = r.choice(["0", "100", "-5", "x", "-9223372036854775808",
                      "9223372036854775807", "2"])
        return ["ZRANDMEMBER", k()] + r.choice(
            [[], [n], [n, "WITHSCORES"], [n, "WRONG"], [n, "WITHSCORES", "x"]])

    return [
        lambda: ["ZADD", k()] + add_flags(m) + pairs(m),
        lambda: ["ZADD", k()] + pairs(m, 9),
        lambda: ["ZADD", k()] + pairs(m, 9),
        lambda: ["ZADD", lex()] + sum([["0", name()] for _ in range(4)], []),
        lambda: ["ZINCRBY", k(), score(m), v()],
        lambda: ["ZREM", k()] + m.members(3),
        lambda: ["ZSCORE", k(), v()], lambda: ["ZMSCORE", k()] + m.members(),
        lambda: ["ZCARD", k()], lambda: ["ZCOUNT", k(), bound(m), bound(m)],
        lambda: ["ZLEXCOUNT", lex(), name_bound(m), name_bound(m)],
        lambda: [r.choice(["ZRANK", "ZREVRANK"]), k(), v()],
        lambda: ["ZRANGE"] + zrange(m, k()),
        lambda: ["ZRANGE", k(), "0", "-1", "WITHSCORES"],
        lambda: ["ZRANGESTORE", k()] + zrange(m, k()),
        lambda: ["ZREVRANGE", k(), rank(m), rank(m)] +
        m.maybe(0.5, m.word("WITHSCORES")),
        lambda: [any_range(), k(), bound(m), bound(m)] + options(m),
        lambda: [any_range(), k(), "-inf", "+inf", "WITHSCORES"] + limit(m),
        lambda: [r.choice(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), lex(),
                 name_bound(m), name_bound(m)] + options(m),
        lambda: [r.choice(["ZPOPMIN", "ZPOPMAX"]), k()] + r.choice(
            [[], [], [m.small()], ["2"], ["0"], ["1", "2"]]),
        lambda: ["ZMPOP"] + mpop(m, m.keys("zset", 3)),
        lambda: waiting(m), sample,
        lambda: ["ZREMRANGEBYRANK", k(), rank(m), rank(m)],
        lambda: ["ZREMRANGEBYSCORE", k(), bound(m), bound(m)],
        lambda: ["ZREMRANGEBYLEX", lex(), name_bound(m), name_bound(m)],
        lambda: [r.choice(["ZUNION", "ZINTER"])] + sources(m, "WAS"),
        lambda: [r.choice(["ZUNIONSTORE", "ZINTERSTORE"]), k()] +
        sources(m, "WA"),
        lambda: ["ZDIFF"] + sources(m, "S"),
        lambda: ["ZDIFFSTORE", k()] + sources(m, ""),
        lambda: ["ZINTERCARD"] + sources(m, "L"),
        lambda: ["ZSCAN", k(), r.choice(["0", "0", "x"]), "COUNT",
                 "1000"] + r.choice(
            [[], ["MATCH", "m*"], ["COUNT", "0"], ["COUNT", "2000"],
             ["OOPS", "1"], ["MATCH"]]),
        lambda: ["SADD", m.key("set")] + m.members(),
        lambda: [r.choice(["ZADD", "ZRANGE", "ZUNIONSTORE", "BZPOPMIN"])],
    ]


def scanned(command, ours, theirs):
    return theirs[:1] == b"*" and split(ours) == split(theirs)


COMPARE = {"ZRANDMEMBER": same_length, "ZSCAN": scanned}
