# SPDX-License-Identifier: MIT
"""redis-servers for the Redis backend: started, stopped, frozen, with TLS,
with sentinels. Everything is in one temporary directory."""
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from daemon import free_port, wait_until
from resp import Client, Closed, RespError


class Server:
    """One redis-server, on a port and on a unix socket."""

    def __init__(self, *args, tls=None, tcp=True, name="redis",
                 password=None):
        if not shutil.which("redis-server"):
            pytest.skip("redis-server is not installed")
        self.root = tempfile.mkdtemp(prefix="bh-redis-")
        self.sock = os.path.join(self.root, "s")
        self.port = free_port() if tcp else 0
        self.tls = tls
        self.args = list(args)
        self.name = name
        self.proc = None
        self.password = password

    def argv(self):
        port = ["--port", "0", "--tls-port", str(self.port)] + self.tls \
            if self.tls else ["--port", str(self.port)]
        return ["redis-server", "--bind", "127.0.0.1", *port,
                "--unixsocket", self.sock, "--dir", self.root,
                "--logfile", os.path.join(self.root, "log"), *self.args]

    def start(self):
        self.proc = subprocess.Popen(
            self.argv(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, self.name)
        return self

    def answers(self):
        assert self.proc.poll() is None, open(
            os.path.join(self.root, "log"), errors="replace").read()[-2000:]
        try:
            with self.client() as c:
                return c.call("PING") == "PONG"
        except (OSError, Closed, RespError):
            return False

    def client(self):
        c = Client(self.sock, proto=2, timeout=10)
        if self.password:
            c.call("AUTH", self.password)
        return c

    def call(self, *words):
        with self.client() as c:
            return c.call(*words)

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc = None

    def freeze(self, on=True):
        self.proc.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def destroy(self):
        if self.proc:
            self.freeze(False)
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % (
            "rediss" if self.tls else "redis", self.port)


# A server that keeps what it is given, without a disk's fsyncs.
KEEPS = ["--appendonly", "yes", "--appendfsync", "no", "--save", ""]


class Authority:
    """A certificate authority, and certificates for 127.0.0.1 or a name."""

    def __init__(self):
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        self.root = tempfile.mkdtemp(prefix="bh-ca-")
        self.ca = self.path("ca.pem")
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                  "-subj", "/CN=bellhop test authority",
                  "-keyout", self.path("ca.key"), "-out", self.ca)

    def path(self, name):
        return os.path.join(self.root, name)

    @staticmethod
    def _run(*args):
        subprocess.run(["openssl", *args], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def server_args(self, names):
        """redis-server's options with a certificate for IP:… or DNS:…"""
        key, csr, crt, ext = (self.path(names.replace(":", "-") + s)
                              for s in (".key", ".csr", ".pem", ".ext"))
        with open(ext, "w", encoding="ascii") as f:
            f.write("subjectAltName=" + names + "\n")
        self._run("req", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                  "-keyout", key, "-out", csr)
        self._run("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey",
                  self.path("ca.key"), "-CAcreateserial", "-days", "2",
                  "-extfile", ext, "-out", crt)
        return ["--tls-cert-file", crt, "--tls-key-file", key,
                "--tls-ca-cert-file", self.ca, "--tls-auth-clients", "no"]

    def destroy(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Sentinel(Server):
    """A sentinel of one master, alone enough to decide."""

    def __init__(self, master):
        super().__init__(name="a sentinel")
        self.conf = os.path.join(self.root, "sentinel.conf")
        with open(self.conf, "w", encoding="ascii") as f:
            f.write("sentinel monitor mymaster 127.0.0.1 %d 1\n"
                    "sentinel down-after-milliseconds mymaster 1000\n"
                    "sentinel failover-timeout mymaster 3000\n"
                    % master.port)

    def argv(self):
        return ["redis-server", self.conf, "--sentinel", "--bind",
                "127.0.0.1", "--port", str(self.port), "--dir", self.root,
                "--unixsocket", self.sock, "--logfile",
                os.path.join(self.root, "log")]
