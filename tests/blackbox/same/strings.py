# SPDX-License-Identifier: MIT
"""Strings and counters."""


def set_opts(m):
    out = []
    for _ in range(m.rng.choice([0, 0, 1, 1, 2, 3])):
        out += m.rng.choice([
            ["NX"], ["XX"], ["GET"], ["KEEPTTL"], ["nx"], ["get"],
            m.expiry(), m.expiry(), ["EX"], ["BAD"]])
    return out


def pairs(m):
    out = []
    for _ in range(m.rng.randrange(1, 4)):
        out += [m.key(), m.value()]
    if m.rng.random() < 0.1:
        out.pop()
    return out


def commands(m):
    r, k, v = m.rng, m.key, m.value
    return [
        lambda: ["GET", k()], lambda: ["GET", k()],
        lambda: ["SET", k(), v()], lambda: ["SET", k(), v()] + set_opts(m),
        lambda: ["SET", k(), v()] + set_opts(m),
        lambda: ["SETNX", k(), v()],
        lambda: ["SETEX", k(), m.span(), v()],
        lambda: ["PSETEX", k(), r.choice([m.ms(), "0", "-1", "x"]), v()],
        lambda: ["GETSET", k(), v()], lambda: ["GETDEL", k()],
        lambda: ["GETEX", k()] + r.choice(
            [[], ["PERSIST"], m.expiry(), m.expiry(),
             ["PERSIST", "EX", "1000"], ["NX"]]),
        lambda: ["MGET"] + m.keys("string"), lambda: ["MSET"] + pairs(m),
        lambda: ["MGET"] + m.keys(),
        lambda: ["MSETNX"] + pairs(m),
        lambda: ["INCR", k()], lambda: ["DECR", k()],
        lambda: ["INCRBY", k(), m.number()],
        lambda: ["DECRBY", k(), m.number()],
        lambda: ["INCRBYFLOAT", k(), m.number()],
        lambda: ["APPEND", k(), v()], lambda: ["STRLEN", k()],
        lambda: ["GETRANGE", k(), m.number(), m.number()],
        lambda: ["SUBSTR", k(), m.number(), m.number()],
        lambda: ["SETRANGE", k(), r.choice(
            ["0", "1", "5", "30", "-1", "x", "16777216", "99999999999"]),
            v()],
        lambda: [r.choice(["GET", "SET", "INCRBY", "MSET"])],
    ]
