# SPDX-License-Identifier: MIT
"""A real redis-server beside the daemon, and answers as bytes."""
import os
import shutil
import subprocess
import tempfile

import pytest

from daemon import wait_until
from resp import Client, Closed, RespError, encode


class Raw(Client):
    """A connection whose answers are what stands on the wire."""

    def __init__(self, address, proto):
        super().__init__(address, 2)
        if proto == 3:
            self.call("HELLO", 3)

    def raw(self):
        line = self.read_line()
        out = line + b"\r\n"
        kind = line[:1]
        if kind in b"$=" and int(line[1:]) >= 0:
            out += self.read_bytes(int(line[1:]) + 2)
        elif kind in b"*~>" and int(line[1:]) > 0:
            out += b"".join(self.raw() for _ in range(int(line[1:])))
        elif kind == b"%":
            out += b"".join(self.raw() for _ in range(2 * int(line[1:])))
        return out

    def begin(self, commands):
        self.send_raw(b"".join(encode(c) for c in commands))

    def end(self, commands):
        return [self.raw() for _ in commands]

    def ask(self, commands):
        self.begin(commands)
        return self.end(commands)


class Redis:
    """aof: it has its data again after kill() and run()."""

    def __init__(self, aof=False, options=()):
        self.root = tempfile.mkdtemp(prefix="bh-redis-")
        self.sock = os.path.join(self.root, "s")
        self.aof = aof
        self.options = list(options)
        self.run()

    def run(self):
        self.proc = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.sock,
             "--save", "", "--appendonly", "yes" if self.aof else "no",
             "--databases", "1", "--dir", self.root,
             "--proto-max-bulk-len", "16777216"] + self.options,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_until(self._answers, "redis-server")

    def _answers(self):
        try:
            with Client(self.sock, proto=2, timeout=5) as c:
                return c.call("PING") == "PONG"
        except (OSError, Closed, RespError):
            return False

    def client(self):
        return Client(self.sock, proto=2, timeout=30)

    def signal(self, number):
        self.proc.send_signal(number)

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def stop(self):
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)


def start(aof=False, options=()):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    return Redis(aof, options)
