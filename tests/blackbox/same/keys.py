# SPDX-License-Identifier: MIT
"""Commands of keys of any type, and of all keys."""
from same.compare import near_time, split


def flags(m):
    n = m.rng.choice([0, 0, 1, 1, 2])
    return [m.rng.choice(["NX", "XX", "GT", "LT", "gt", "OOPS"])
            for _ in range(n)]


def commands(m):
    r, k = m.rng, m.any_key
    return [
        lambda: [r.choice(["DEL", "UNLINK"])] + m.keys(),
        lambda: [r.choice(["EXISTS", "TOUCH"])] + m.keys(),
        lambda: ["EXPIRE", k(), m.span()] + flags(m),
        lambda: ["PEXPIRE", k(), r.choice([m.ms(), "-1", "x"])] + flags(m),
        lambda: ["EXPIREAT", k(), m.time(False)] + flags(m),
        lambda: ["PEXPIREAT", k(), m.time(True)] + flags(m),
        lambda: [r.choice(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]),
                 k()],
        lambda: ["PERSIST", k()], lambda: ["TYPE", k()],
        lambda: ["TYPE", k()],
        lambda: [r.choice(["RENAME", "RENAMENX"]), k(), k()],
        lambda: ["COPY", k(), k()] + r.choice(
            [[], ["REPLACE"], ["DB", "0"], ["DB", "1"], ["DB", "x"],
             ["DB"], ["DB", "0", "REPLACE"], ["WHAT"]]),
        lambda: ["KEYS", r.choice(["*", "cache:*", "?", "[a-c]", "x*"])],
        lambda: ["SCAN", "0", "COUNT", "1000"] + r.choice(
            [[], ["MATCH", "c*"], ["TYPE", "string"], ["TYPE", "hash"],
             ["TYPE", "zset"], ["TYPE", "what"]]),
        lambda: ["SCAN", r.choice(["x", "", " 1", "-", "1x"]), "COUNT",
                 "1000"],
        lambda: ["SCAN", "0"] + r.choice(
            [["COUNT", "0"], ["COUNT", "x"], ["COUNT"], ["BAD", "1"]]),
        lambda: [r.choice(["FLUSHDB", "FLUSHALL"])] + r.choice(
            [["ASYNC"], ["WRONG"], ["ASYNC", "SYNC"]])
        if r.random() < 0.1 else ["DBSIZE"],
        lambda: ["OBJECT", m.word("ENCODING", "ENCODING", "REFCOUNT", "FREQ"),
                 k()],
        lambda: ["OBJECT", "ENCODING", r.choice([m.key("hash"),
                                                 m.key("set")])],
        lambda: ["OBJECT"] + r.choice([["ENCODING"], ["WHAT", "x"], []]),
        lambda: [r.choice(["RENAME", "TTL", "DEL"])],
    ]


def listed(command, ours, theirs):
    return theirs[:1] == b"*" and split(ours) == split(theirs)


def size(command, ours, theirs):
    # Redis counts what has expired and was not removed yet.
    return theirs[:1] == b":" and int(ours[1:]) <= int(theirs[1:])


def kept(command, ours, theirs):
    # A string's representation depends on how it came to be, and small
    # numbers are shared by all.
    if command[1].upper() == "REFCOUNT":
        return ours[:1] == theirs[:1] == b":"
    return command[1].upper() == "ENCODING" and all(
        x.split(b"\r\n")[1] in (b"int", b"embstr", b"raw")
        for x in (ours, theirs))


COMPARE = {"OBJECT": kept, "KEYS": listed, "SCAN": listed, "DBSIZE": size,
           "TTL": near_time, "PTTL": near_time,
           "EXPIRETIME": near_time, "PEXPIRETIME": near_time}
