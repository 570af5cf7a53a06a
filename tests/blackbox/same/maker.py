# SPDX-License-Identifier: MIT
"""Random words for commands."""
import random

FAR = 4102444800                # 2100

# Names by the type that they mostly have.
NAMES = {
    "string": ["a", "b", "c", "d", "cache:1", "cache:2", "k\r\n", "",
               "é\udcff"],
    "hash": ["h1", "h2", "h3", "cache:h"],
    "set": ["s1", "s2", "s3", "s4", "cache:s"],
    "list": ["l1", "l2", "l3", "cache:l"],
    "zset": ["z1", "z2", "z3", "z4", "cache:z"],
    "stream": ["x1", "x2", "cache:x"],
}


class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def key(self, kind="string"):
        """One of this type mostly, sometimes any or none."""
        r = self.rng.random()
        if r < 0.9:
            return self.rng.choice(NAMES[kind])
        if r < 0.93:
            return "none%d" % self.rng.randrange(3)
        return self.rng.choice(NAMES[self.rng.choice(list(NAMES))])

    def any_key(self):
        return self.key(self.rng.choice(list(NAMES)))

    def keys(self, kind=None, most=4):
        return [self.key(kind) if kind else self.any_key()
                for _ in range(self.rng.randrange(1, most + 1))]

    def value(self):
        r = self.rng
        return r.choice([
            "", "0", "1", "-1", "10", "007", "9223372036854775807",
            "-9223372036854775808", "9223372036854775808", "3.5", "1e3",
            "-0", "+1", " 1", "0x10", "inf", "nan", "1e5000", "text",
            "b\0in\r\n", "x" * r.randrange(100), str(r.randrange(-99, 99)),
            "%.3f" % r.uniform(-50, 50)])

    def member(self):
        """A field, member or element: few, so that they meet."""
        r = self.rng.random()
        if r < 0.6:
            return "m%d" % self.rng.randrange(12)
        if r < 0.9:
            return str(self.rng.randrange(-3, 12))
        return self.value()

    def members(self, most=5):
        return [self.member() for _ in range(self.rng.randrange(1, most + 1))]

    def number(self):
        r = self.rng
        return r.choice([str(r.randrange(-20, 20)), str(r.randrange(10**6)),
                         self.value()])

    def small(self):
        """A number that is small, mostly, and one at all."""
        if self.rng.random() < 0.05:
            return self.value()
        return str(self.rng.randrange(-4, 8))

    def word(self, *words):
        """One of the words, in any case, sometimes another."""
        if self.rng.random() < 0.04:
            return self.rng.choice(["OOPS", "", "1", "withscores"])
        w = self.rng.choice(words)
        return w.lower() if self.rng.random() < 0.2 else w

    def maybe(self, p, *words):
        """These words, or none."""
        return list(words) if self.rng.random() < p else []

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
