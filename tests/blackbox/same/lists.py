# SPDX-License-Identifier: MIT
"""Lists, also those that wait: there is never long to wait, as the commands of
a batch come one behind the other."""


def mpop(m, keys):
    r = m.rng
    n = str(len(keys)) if r.random() < 0.95 else r.choice(
        ["0", "-1", "x", "9", "9223372036854775807"])
    return [n] + keys + [m.word("LEFT", "RIGHT")] + r.choice(
        [[], [], ["COUNT", "2"], ["COUNT", "100"], ["COUNT", m.small()],
         ["COUNT"], ["COUNT", "1", "COUNT", "1"], ["MORE", "1"]])


def timeout(m):
    return m.rng.choice(["0.001", "0.002", "1e-3", "-1", "x", "", " 1",
                         "nan", "inf", "1e400", "9223372036854775807"]
                        if m.rng.random() < 0.3 else ["0.001"])


def rank(m):
    # Redis negates it: the lowest number of all has no negative.
    v = m.small()
    return "-1" if v == "-9223372036854775808" else v


def lpos(m):
    out = []
    for _ in range(m.rng.choice([0, 0, 1, 1, 2])):
        out += m.rng.choice([
            ["RANK", rank(m)], ["COUNT", m.small()], ["MAXLEN", m.small()],
            ["rank", "-1"], ["COUNT", "0"], ["RANK", "-9223372036854775807"],
            ["COUNT"], ["WHAT", "1"]])
    return out


def waiting(m):
    r = m.rng
    keys = m.keys("list", 3)
    # Most find something.
    first = [["RPUSH", keys[-1], m.member()]] if r.random() < 0.8 else []
    return first + [r.choice([
        lambda: [r.choice(["BLPOP", "BRPOP"])] + keys + [timeout(m)],
        lambda: ["BLMOVE", keys[-1], m.key("list"), m.word("LEFT", "RIGHT"),
                 m.word("LEFT", "RIGHT"), timeout(m)],
        lambda: ["BRPOPLPUSH", keys[-1], m.key("list"), timeout(m)],
        lambda: ["BLMPOP", timeout(m)] + mpop(m, keys)])()]


def commands(m):
    r, v = m.rng, m.member

    def k():
        return m.key("list")

    def side():
        return m.word("LEFT", "RIGHT")

    def push(*names):
        return lambda: [r.choice(names), k()] + m.members(8)

    def pop():
        return [r.choice(["LPOP", "RPOP"]), k()] + r.choice(
            [[], [], [m.small()], ["2"], ["0"], ["-1"], ["1", "2"]])

    return [
        push("LPUSH"), push("RPUSH"), push("LPUSH", "RPUSH"),
        push("LPUSHX", "RPUSHX"), pop, pop,
        lambda: ["LLEN", k()],
        lambda: ["LINDEX", k(), m.small()],
        lambda: ["LRANGE", k(), "0", "-1"],
        lambda: ["LRANGE", k(), m.small(), m.small()],
        lambda: ["LSET", k(), m.small(), v()],
        lambda: ["LTRIM", k(), m.small(), m.small()],
        lambda: ["LREM", k(), m.small(), v()],
        lambda: ["LREM", k(), r.choice(
            ["0", "-9223372036854775808", "9223372036854775807"]), v()],
        lambda: ["LINSERT", k(), m.word("BEFORE", "AFTER"), v(), v()],
        lambda: ["LINSERT", k(), m.word("BEFORE", "AFTER"), v(), v()],
        lambda: ["LPOS", k(), v()] + lpos(m),
        lambda: ["LMOVE", k(), k(), side(), side()],
        lambda: ["RPOPLPUSH", k(), k()],
        lambda: ["LMPOP"] + mpop(m, m.keys("list", 3)),
        lambda: waiting(m),
        lambda: [r.choice(["LPUSH", "LPOP", "LRANGE", "BLPOP", "LMPOP"])],
    ]
