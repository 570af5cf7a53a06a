# SPDX-License-Identifier: MIT
"""A server that says of itself that it is another version of Redis."""
import contextlib
import socket
import threading


def _talk(conn, version):
    info = ("redis_version:%s\r\nredis_mode:standalone\r\nrole:master\r\n"
            "aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n" % version)
    with conn, conn.makefile("rb") as f:
        for line in f:
            if not line.startswith(b"*"):
                continue
            words = []
            for _ in range(int(line[1:])):
                n = int(f.readline()[1:])
                words.append(f.read(n + 2)[:-2].upper())
            if words[0] == b"INFO":
                out = "$%d\r\n%s\r\n" % (len(info), info)
            elif words[0] == b"PING":
                out = "+PONG\r\n"
            elif words[0] == b"CONFIG":
                out = "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
            else:
                out = "+OK\r\n"
            conn.sendall(out.encode())


@contextlib.contextmanager
def serve(version):
    s = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                conn, _ = s.accept()
            except OSError:
                return
            threading.Thread(target=_talk, args=(conn, version),
                             daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield s.getsockname()[1]
    finally:
        s.close()
