# SPDX-License-Identifier: MIT
"""Key commands are answered with the same bytes as by Redis 7, whatever the
order of commands and however wrong their arguments are."""
import os
import random

import pytest

import realredis
from same import engine

SEED = int(os.environ.get("BELLHOP_SAME_SEED", str(random.randrange(10**6))))
COMMANDS = int(os.environ.get("BELLHOP_SAME_COMMANDS", "100000"))

OPTIONS = {"keys_memory": "1GiB"}


@pytest.fixture(scope="module")
def real():
    r = realredis.start()
    yield r
    r.stop()


@pytest.mark.parametrize("proto", [2, 3])
def test_random_commands(bh, real, proto):
    with realredis.Raw(bh.sock, proto) as ours, \
            realredis.Raw(real.sock, proto) as theirs:
        engine.run(engine.Pair(ours, theirs), SEED, proto,
                   COMMANDS // 2)


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
