# SPDX-License-Identifier: MIT
"""Hashes."""
from same.compare import same_length, split, unordered


def pairs(m):
    out = []
    for _ in range(m.rng.choice([1, 1, 2, 5])):
        out += [m.member(), m.value()]
    if m.rng.random() < 0.05:
        out.pop()
    return out


def large(m):
    """Into the other representation, and perhaps back to nothing."""
    k, r = m.key("hash"), m.rng
    kind = r.randrange(3)
    if kind == 0:
        return ["HSET", k, m.member(), "v" * r.choice([63, 64, 65, 400])]
    if kind == 1:
        return ["HSET", k] + [w for i in range(r.choice([100, 140, 512, 530]))
                              for w in ("f%d" % i, str(i))]
    return ["HDEL", k] + ["f%d" % i for i in range(r.randrange(540))] + ["m1"]


def scan(m):
    return ["HSCAN", m.key("hash"), m.rng.choice(["0", "0", "0", "x", "-1x"]),
            "COUNT", "1000"] + m.rng.choice(
        [[], ["MATCH", "m*"], ["MATCH", "*1*"], ["TYPE", "hash"],
         ["COUNT", "x"], ["COUNT", "0"], ["MATCH"]])


def commands(m):
    r = m.rng

    def k():
        return m.key("hash")

    return [
        lambda: ["HSET", k()] + pairs(m), lambda: ["HSET", k()] + pairs(m),
        lambda: ["HMSET", k()] + pairs(m),
        lambda: ["HSETNX", k(), m.member(), m.value()],
        lambda: ["HGET", k(), m.member()], lambda: ["HGET", k(), m.member()],
        lambda: ["HMGET", k()] + m.members(),
        lambda: ["HGETALL", k()], lambda: ["HKEYS", k()],
        lambda: ["HVALS", k()], lambda: ["HLEN", k()],
        lambda: ["HDEL", k()] + m.members(),
        lambda: ["HEXISTS", k(), m.member()],
        lambda: ["HSTRLEN", k(), m.member()],
        lambda: ["HINCRBY", k(), m.member(), m.number()],
        lambda: ["HINCRBYFLOAT", k(), m.member(), m.number()],
        lambda: ["HRANDFIELD", k()] + r.choice(
            [[], ["0"], ["3"], ["-7"], ["1000"], ["1000", "WITHVALUES"],
             ["2", "withvalues"], ["-3", "WITHVALUES"], ["x"], ["1", "WHAT"],
             ["-9223372036854775807", "WITHVALUES"],
             ["-9223372036854775808"], ["1", "WITHVALUES", "x"]]),
        lambda: scan(m), lambda: large(m), lambda: large(m),
        lambda: [r.choice(["HSET", "HGET", "HMSET", "HGETALL", "HDEL"]),
                 k()],
    ]


def picked(command, ours, theirs):
    if len(command) > 2 and command[2] == "1000":
        return unordered(command, ours, theirs)
    return same_length(command, ours, theirs)


def scanned(command, ours, theirs):
    return theirs[:1] == b"*" and split(ours) == split(theirs)


COMPARE = {"HGETALL": unordered, "HKEYS": unordered, "HVALS": unordered,
           "HRANDFIELD": picked, "HSCAN": scanned}
