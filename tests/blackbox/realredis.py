# SPDX-License-Identifier: MIT
"""A real redis-server beside the daemon, and answers as bytes."""
import os
import shutil
import subprocess
import tempfile

import pytest

from daemon import wait_until
from resp import Client, Closed, encode


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
    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="bh-redis-")
        self.sock = os.path.join(self.root, "s")
        self.proc = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.sock,
             "--save", "", "--appendonly", "no", "--databases", "1",
             "--dir", self.root, "--proto-max-bulk-len", "16777216"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wait_until(self._answers, "redis-server")

    def _answers(self):
        try:
            with Client(self.sock, proto=2, timeout=5) as c:
                return c.call("PING") == "PONG"
        except (OSError, Closed):
            return False

    def stop(self):
        self.proc.kill()
        self.proc.wait()
        shutil.rmtree(self.root, ignore_errors=True)


def start():
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    return Redis()
