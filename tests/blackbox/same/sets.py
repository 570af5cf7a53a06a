# SPDX-License-Identifier: MIT
"""Sets. What SPOP takes is another member in each server, so it takes all or
works on a set of its own."""
from same.compare import same_length, split, unordered


def large(m):
    r, k = m.rng, m.key("set")
    first = r.randrange(100)
    members = [str(i) for i in range(first, first + r.choice([100, 300, 600]))]
    if r.random() < 0.3:
        members[0] = "x" * 70
    return [r.choice(["SADD", "SADD", "SREM"]), k] + members


def popped(m):
    r = m.rng
    n = r.randrange(1, 9)
    return [["DEL", "pop"], ["SADD", "pop"] + m.members(8),
            ["SPOP", "pop"] + r.choice([[], [str(n)], ["0"]]),
            ["SCARD", "pop"], ["DEL", "pop"]]


def card(m):
    keys = m.keys("set")
    n = m.rng.choice([str(len(keys))] * 6 + ["0", "-1", "x", "9"])
    return ["SINTERCARD", n] + keys + m.rng.choice(
        [[], [], ["LIMIT", "1"], ["LIMIT", "0"], ["limit", "3"],
         ["LIMIT", "-1"], ["LIMIT", "x"], ["LIMIT"], ["BAD", "1"]])


def scan(m):
    return ["SSCAN", m.key("set"), m.rng.choice(["0", "0", "0", "x"]),
            "COUNT", "10000"] + m.rng.choice(
        [[], ["MATCH", "m*"], ["MATCH", "*1*"], ["TYPE", "set"],
         ["COUNT", "x"], ["COUNT", "0"], ["MATCH"]])


def commands(m):
    r = m.rng

    def k():
        return m.key("set")

    return [
        lambda: ["SADD", k()] + m.members(8),
        lambda: ["SADD", k()] + m.members(8),
        lambda: ["SREM", k()] + m.members(),
        lambda: ["SISMEMBER", k(), m.member()],
        lambda: ["SMISMEMBER", k()] + m.members(),
        lambda: ["SMEMBERS", k()], lambda: ["SCARD", k()],
        lambda: ["SPOP", k()] + r.choice(
            [["100000"], ["-1"], ["x"], ["0"], ["1", "2"]]),
        lambda: popped(m),
        lambda: ["SRANDMEMBER", k()] + r.choice(
            [[], ["0"], ["3"], ["-7"], ["100000"], ["x"], ["1", "2"],
             ["-9223372036854775808"]]),
        lambda: ["SMOVE", k(), k(), m.member()],
        lambda: [r.choice(["SINTER", "SUNION", "SDIFF"])]
        + m.keys("set", r.choice([2, 3, 9])),
        lambda: [r.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]),
                 k()] + m.keys("set", 3),
        lambda: card(m), lambda: scan(m), lambda: large(m),
        lambda: [r.choice(["SADD", "SMEMBERS", "SINTER", "SMOVE"]), k()],
    ]


def picked(command, ours, theirs):
    if len(command) > 2 and command[2] == "100000":
        return unordered(command, ours, theirs)
    return same_length(command, ours, theirs)


def scanned(command, ours, theirs):
    return theirs[:1] == b"*" and split(ours) == split(theirs)


COMPARE = dict.fromkeys(("SMEMBERS", "SINTER", "SUNION", "SDIFF"), unordered)
COMPARE.update(SPOP=picked, SRANDMEMBER=picked, SSCAN=scanned)
