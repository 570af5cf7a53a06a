# SPDX-License-Identifier: MIT
"""Key commands are answered with the same bytes as by Redis 7, whatever the
order of commands and however wrong their arguments are."""
import os
import random
import re

import pytest

import realredis

SEED = int(os.environ.get("BELLHOP_SAME_SEED", str(random.randrange(10**6))))
COMMANDS = int(os.environ.get("BELLHOP_SAME_COMMANDS", "30000"))
FAR = 4102444800                # 2100

OPTIONS = {"keys_memory": "1GiB"}


@pytest.fixture(scope="module")
def real():
    r = realredis.start()
    yield r
    r.stop()


class Maker:
    """Random commands: mostly right, on few keys, so that they meet."""

    def __init__(self, rng):
        self.rng = rng

    def key(self):
        return self.rng.choice(
            ["a", "b", "c", "d", "cache:1", "cache:2", "k\r\n", "", "é\udcff"])

    def value(self):
        r = self.rng
        return r.choice([
            "", "0", "1", "-1", "10", "007", "9223372036854775807",
            "-9223372036854775808", "9223372036854775808", "3.5", "1e3",
            "-0", "+1", " 1", "0x10", "inf", "nan", "1e5000", "text",
            "b\0in\r\n", "x" * r.randrange(100), str(r.randrange(-99, 99)),
            "%.3f" % r.uniform(-50, 50)])

    def number(self):
        r = self.rng
        return r.choice([str(r.randrange(-20, 20)), str(r.randrange(10**6)),
                         self.value()])

    def span(self):
        # Not so short that it passes between two answers, and not twice the
        # same: both count from moments that differ by some milliseconds.
        return self.rng.choice(
            [str(1000 + 60 * self.rng.randrange(10**6)) for _ in range(3)] +
            ["0", "-1", "-100000", "x", "",
             "9223372036854775807", "9223372036854775", "9300000000000000"])

    def ms(self):
        return str(10**6 + 60000 * self.rng.randrange(10**6))

    def time(self, ms):
        unit = 1000 if ms else 1
        return self.rng.choice(
            [str(FAR * unit), str(FAR * unit + 1499), "1", "0", "-5", "x",
             "9223372036854775807"])

    def expiry(self):
        word = self.rng.choice(["EX", "PX", "EXAT", "PXAT", "px", "Ex"])
        if word.upper() in ("EX", "PX"):
            span = self.span()
            if word.upper() == "PX" and 1 < len(span) < 10:
                span += "000"
            return [word, span]
        return [word, self.time(word == "PXAT")]

    def set_opts(self):
        out = []
        for _ in range(self.rng.choice([0, 0, 1, 1, 2, 3])):
            out += self.rng.choice([
                ["NX"], ["XX"], ["GET"], ["KEEPTTL"], ["nx"], ["get"],
                self.expiry(), self.expiry(), ["EX"], ["BAD"]])
        return out

    def flags(self):
        n = self.rng.choice([0, 0, 1, 1, 2])
        return [self.rng.choice(["NX", "XX", "GT", "LT", "gt", "OOPS"])
                for _ in range(n)]

    def pairs(self):
        out = []
        for _ in range(self.rng.randrange(1, 4)):
            out += [self.key(), self.value()]
        if self.rng.random() < 0.1:
            out.pop()
        return out

    def keys(self):
        return [self.key() for _ in range(self.rng.randrange(1, 5))]

    def command(self):
        r = self.rng
        k, v = self.key(), self.value()
        return r.choice([
            lambda: ["GET", k], lambda: ["GET", k],
            lambda: ["SET", k, v], lambda: ["SET", k, v] + self.set_opts(),
            lambda: ["SET", k, v] + self.set_opts(),
            lambda: ["SETNX", k, v],
            lambda: ["SETEX", k, self.span(), v],
            lambda: ["PSETEX", k, r.choice([self.ms(), "0", "-1", "x"]), v],
            lambda: ["GETSET", k, v], lambda: ["GETDEL", k],
            lambda: ["GETEX", k] + r.choice(
                [[], ["PERSIST"], self.expiry(), self.expiry(),
                 ["PERSIST", "EX", "1000"], ["NX"]]),
            lambda: ["MGET"] + self.keys(), lambda: ["MSET"] + self.pairs(),
            lambda: ["MSETNX"] + self.pairs(),
            lambda: ["INCR", k], lambda: ["DECR", k],
            lambda: ["INCRBY", k, self.number()],
            lambda: ["DECRBY", k, self.number()],
            lambda: ["INCRBYFLOAT", k, self.number()],
            lambda: ["APPEND", k, v], lambda: ["STRLEN", k],
            lambda: ["GETRANGE", k, self.number(), self.number()],
            lambda: ["SUBSTR", k, self.number(), self.number()],
            lambda: ["SETRANGE", k, r.choice(
                ["0", "1", "5", "30", "-1", "x", "16777216", "99999999999"]),
                v],
            lambda: [r.choice(["DEL", "UNLINK"])] + self.keys(),
            lambda: [r.choice(["EXISTS", "TOUCH"])] + self.keys(),
            lambda: ["EXPIRE", k, self.span()] + self.flags(),
            lambda: ["PEXPIRE", k, r.choice([self.ms(), "-1", "x"])]
            + self.flags(),
            lambda: ["EXPIREAT", k, self.time(False)] + self.flags(),
            lambda: ["PEXPIREAT", k, self.time(True)] + self.flags(),
            lambda: [r.choice(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]),
                     k],
            lambda: ["PERSIST", k], lambda: ["TYPE", k],
            lambda: [r.choice(["RENAME", "RENAMENX"]), k, self.key()],
            lambda: ["COPY", k, self.key()] + r.choice(
                [[], ["REPLACE"], ["DB", "0"], ["DB", "1"], ["DB", "x"],
                 ["DB"], ["DB", "0", "REPLACE"], ["WHAT"]]),
            lambda: ["KEYS", r.choice(["*", "cache:*", "?", "[a-c]", "x*"])],
            lambda: ["SCAN", "0", "COUNT", "1000"] + r.choice(
                [[], ["MATCH", "c*"], ["TYPE", "string"], ["TYPE", "hash"]]),
            lambda: ["SCAN", r.choice(["x", "", " 1", "-", "1x"])],
            lambda: ["SCAN", "0"] + r.choice(
                [["COUNT", "0"], ["COUNT", "x"], ["COUNT"], ["BAD", "1"]]),
            lambda: [r.choice(["FLUSHDB", "FLUSHALL"])] + r.choice(
                [["ASYNC"], ["WRONG"], ["ASYNC", "SYNC"]])
            if r.random() < 0.2 else ["DBSIZE"],
            lambda: [r.choice(["GET", "SET", "INCRBY", "RENAME", "TTL"])],
        ])()


def numbers(answers):
    return [int(x[1:]) for x in answers]


def same(command, ours, theirs):
    if ours == theirs:
        return True
    name = command[0].upper()
    if name in ("KEYS", "SCAN") and theirs[:1] == b"*":
        # No order is promised.
        split = [sorted(re.split(rb"(?=\$\d+\r\n)", x))
                 for x in (ours, theirs)]
        return split[0] == split[1]
    if name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME") and \
            theirs[:1] == b":":
        # What was said as a span counts from two different moments.
        a, b = numbers((ours, theirs))
        return min(a, b) > 0 and abs(a - b) <= (
            20000 if name.startswith("P") else 20)
    if name == "DBSIZE":
        # Redis counts what has expired and was not removed yet.
        a, b = numbers((ours, theirs))
        return a <= b
    return False


@pytest.mark.parametrize("proto", [2, 3])
def test_random_commands(bh, real, proto):
    seed = SEED + proto
    maker = Maker(random.Random(seed))
    with realredis.Raw(bh.sock, proto) as a, realredis.Raw(real.sock, proto) as b:
        for client in (a, b):
            client.call("FLUSHALL")
        for start in range(0, COMMANDS, 100):
            batch = [maker.command() for _ in range(100)]
            for cmd, ours, theirs in zip(batch, a.ask(batch), b.ask(batch)):
                assert same(cmd, ours, theirs), (
                    "seed %d, near %d: %r\nours   %r\ntheirs %r"
                    % (seed, start, cmd, ours, theirs))


def test_cursor_meets_every_key(bh, real):
    """A full iteration shows each key that is there all the time, while others
    come and go."""
    rng = random.Random(SEED)
    stay = {"stay:%d" % i for i in range(700)}
    for address in (bh.sock, real.sock):
        with realredis.Raw(address, 2) as client:
            client.call("FLUSHALL")
            client.pipe([["SET", k, "1"] for k in sorted(stay)]
                        + [["SET", "go:%d" % i, "1"] for i in range(700)])
            seen, cursor = set(), "0"
            while True:
                cursor, keys = client.call("SCAN", cursor, "COUNT", "20")
                seen.update(keys)
                client.pipe([["DEL", "go:%d" % rng.randrange(900)]
                             for _ in range(30)] +
                            [["SET", "go:%d" % rng.randrange(900), "1"]
                             for _ in range(10)])
                if cursor == "0":
                    break
            assert stay <= seen


def test_large_values(bh, real):
    big = "x" * (15 << 20)
    with realredis.Raw(bh.sock, 2) as a, realredis.Raw(real.sock, 2) as b:
        for cmd in (["SET", "big", big], ["STRLEN", "big"],
                    ["SETRANGE", "big", str(16 << 20), "y"],
                    ["APPEND", "big", "z" * (1 << 20)], ["STRLEN", "big"],
                    ["APPEND", "big", "!"], ["GETRANGE", "big", "-5", "-1"],
                    ["DEL", "big"]):
            assert a.ask([cmd]) == b.ask([cmd]), cmd[0]
