# SPDX-License-Identifier: MIT
"""Bits of strings, and LCS."""


def offset(m):
    return m.rng.choice(
        [str(m.rng.randrange(70))] * 4 +
        ["0", "7", "8", "-1", "x", "134217728", "4294967296"]
        if m.rng.random() < 0.3 else [str(m.rng.randrange(300))])


def ends(m):
    r = m.rng
    return r.choice([
        [], [m.small()], [m.small(), m.small()], [m.small(), m.small()],
        [m.small(), m.small(), m.word("BIT", "BYTE")],
        [str(r.randrange(-90, 90)), str(r.randrange(-90, 90)), "BIT"],
        ["1", "2", "BIT", "x"]])


def width(m):
    r = m.rng
    if r.random() < 0.1:
        return r.choice(["u64", "i65", "u0", "i0", "x8", "u", "i", "",
                         "i-1", "i+8"])
    return r.choice(["i", "u"]) + str(r.choice([1, 3, 4, 5, 7, 8, 16, 31, 33,
                                                 63]))


def place(m):
    r = m.rng
    return r.choice([str(r.randrange(40)), "#%d" % r.randrange(6), "#0",
                     "#1"] + (["#-1", "#", "-1", "#99999999999999999",
                               "9999999999"] if r.random() < 0.1 else []))


def amount(m):
    r = m.rng
    # Not larger: Redis' own sums overflow then, and it takes a low number
    # for a high one.
    return r.choice([str(r.randrange(-300, 300)), "1", "-1",
                     str(r.randrange(-2**62, 2**62))] +
                    (["x", ""] if r.random() < 0.1 else []))


def field(m, name):
    out = []
    for _ in range(m.rng.randrange(0, 5)):
        out += m.rng.choice([
            ["GET", width(m), place(m)],
            ["SET", width(m), place(m), amount(m)],
            ["INCRBY", width(m), place(m), amount(m)],
            ["OVERFLOW", m.word("WRAP", "SAT", "FAIL"),
             "INCRBY", width(m), place(m), amount(m)]]
            if name == "BITFIELD" or m.rng.random() < 0.1
            else [["GET", width(m), place(m)]])
    if m.rng.random() < 0.05:
        out.append("GET")
    return [name, m.key()] + out


def lcs(m):
    return ["LCS", m.key(), m.key()] + m.maybe(0.3, "LEN") + \
        m.maybe(0.4, "IDX") + m.maybe(0.2, "WITHMATCHLEN") + \
        m.maybe(0.2, "MINMATCHLEN", m.small()) + m.maybe(0.03, "x")


def commands(m):
    r, k = m.rng, m.key
    return [
        lambda: ["SETBIT", k(), offset(m), r.choice(["0", "1", "1", "2"])],
        lambda: ["SETBIT", k(), offset(m), "1"],
        lambda: ["GETBIT", k(), offset(m)],
        lambda: ["BITCOUNT", k()] + ends(m),
        lambda: ["BITCOUNT", k()] + ends(m),
        lambda: ["BITPOS", k(), r.choice(["0", "1", "0", "1", "2", "x"])]
        + ends(m),
        lambda: ["BITPOS", k(), r.choice(["0", "1"])] + ends(m),
        lambda: ["BITOP", m.word("AND", "OR", "XOR", "NOT"), k()]
        + m.keys("string", 3),
        lambda: field(m, "BITFIELD"), lambda: field(m, "BITFIELD"),
        lambda: field(m, "BITFIELD_RO"),
        lambda: lcs(m), lambda: lcs(m),
        lambda: ["MSET", k(), "".join(r.choice("abc") for _ in range(30)),
                 k(), "".join(r.choice("abc") for _ in range(30))],
        lambda: [r.choice(["SETBIT", "BITOP", "LCS", "BITPOS"]), k()],
    ]
