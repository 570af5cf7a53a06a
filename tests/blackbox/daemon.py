# SPDX-License-Identifier: MIT
"""A real bellhopd in a directory of its own, and what tests do to it."""
import collections
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from resp import Client, Closed, RespError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

# What must never stand in the daemon's standard error.
POISON = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:"
    r"|(?:^|\s)bug: ", re.M)

# An upper bound for conditions: generous, since nothing waits it out unless
# something is broken. Sanitizer builds on a busy machine are slow.
PATIENCE = float(os.environ.get("BELLHOP_TEST_PATIENCE", "45"))

CtlResult = collections.namedtuple("CtlResult", "status out err")


# A process that gets listening sockets from systemd has them from descriptor 3
# on, and an environment that says so with its own process id.
HAND_OVER = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(x), fcntl.F_DUPFD, 100)
       for x in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)),
                  LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


class StartError(Exception):
    """bellhopd ended instead of serving: .status and .err say how."""

    def __init__(self, status, err):
        super().__init__("bellhopd ended with %s:\n%s" % (status, err))
        self.status = status
        self.err = err


def find_binary(name):
    path = os.environ.get(name.upper())
    if path:
        return os.path.abspath(path)
    found = [p for p in sorted(glob.glob(os.path.join(TOP, "build*", name)))
             + [os.path.join(TOP, name)] if os.access(p, os.X_OK)
             and os.path.isfile(p)]
    if not found:
        raise RuntimeError(
            "no %s: build it, or name it in the environment variable %s"
            % (name, name.upper()))
    return found[0]


def plugin_dir():
    """Where the build tree has its plugins."""
    return os.environ.get("BELLHOP_PLUGIN_DIR") or os.path.join(
        os.path.dirname(find_binary("bellhopd")), "plugins", ".libs")


def wait_until(condition, what="the condition", timeout=None):
    """The condition's first true value."""
    deadline = time.monotonic() + (timeout or PATIENCE)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def conf_value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return "%dL" % v if abs(v) > 0x7fffffff else str(v)
    if isinstance(v, str):
        return '"%s"' % v.replace("\\", "\\\\").replace('"', '\\"')
    return "[ %s ]" % ", ".join(conf_value(x) for x in v)


class Daemon:
    """options: single options by name; config: raw text that follows them;
    scripts: file name → text; plugins: names; http: with the HTTP door, on
    .http_port. With BELLHOP_TEST_BACKEND=redis in the environment it has a
    Redis of its own."""

    running = []                # for the report of a failing test

    def __init__(self, options=None, config="", scripts=None, env=None,
                 plugins=(), http=False):
        self.root = tempfile.mkdtemp(prefix="bh-")
        self.sock = os.path.join(self.root, "b.sock")
        self.conf = os.path.join(self.root, "bellhop.conf")
        self.stderr = os.path.join(self.root, "stderr")
        self.state = os.path.join(self.root, "state")
        self.scripts = os.path.join(self.root, "scripts")
        self.lua = os.path.join(self.root, "lua")
        self.secrets = os.path.join(self.root, "secrets")
        for d in (self.state, self.scripts, self.lua, self.secrets):
            os.mkdir(d)
        self.options = dict(options or {})
        self.extra = config
        self.env = dict(env or {})
        self.port = free_port()
        self.listen = None
        self.http_port = free_port() if http else None
        self.held = []          # see hold_sockets()
        self.redis = None
        if os.environ.get("BELLHOP_TEST_BACKEND") == "redis" and \
                "backend = {" not in config:
            import realredis    # which needs this module
            self.redis = realredis.Redis()
            plugins = list(plugins) + ["redis"]
        plugins = list(plugins) + (["http"] if http else [])
        if plugins:
            self.options.setdefault("plugin_dir", plugin_dir())
            self.options.setdefault("plugins", plugins)
        self.proc = None
        self.clients = []
        for name, source in (scripts or {}).items():
            self.write_script(name, source)
        self.write_config()

    # Files.

    @property
    def db(self):
        return os.path.join(self.state, "bellhop.db")

    def config_text(self):
        listen = self.listen or [
            "unix:" + self.sock, "127.0.0.1:%d" % self.port]
        http = ' http = [ "127.0.0.1:%d" ];' % self.http_port \
            if self.http_port else ""
        lines = [
            "state_dir = %s;" % conf_value(self.state),
            "scripts_dir = %s;" % conf_value(self.scripts),
            "lua_dir = %s;" % conf_value(self.lua),
            "secrets_dir = %s;" % conf_value(self.secrets),
            "listen = { resp = %s;%s };" % (conf_value(listen), http),
        ]
        if self.redis:
            lines.append('backend = { type = "redis"; url = "unix:%s"; '
                         'accept_loss = true; };' % self.redis.sock)
        lines += ["%s = %s;" % (k, conf_value(v))
                  for k, v in self.options.items()]
        return "\n".join(lines) + "\n" + self.extra + "\n"

    def write_config(self, options=None, config=None):
        """Replaces single options or the raw text, and writes the file."""
        self.options.update(options or {})
        if config is not None:
            self.extra = config
        self._write(self.conf, self.config_text())

    @staticmethod
    def _write(path, content):
        # By rename, as editors do: nobody sees half a file.
        with open(path + ".new~", "w", encoding="utf-8") as f:
            f.write(content)
        os.rename(path + ".new~", path)

    def write_script(self, name, source):
        self._write(os.path.join(self.scripts, name), source)

    def remove_script(self, name):
        os.unlink(os.path.join(self.scripts, name))

    def err_text(self):
        try:
            with open(self.stderr, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def check_stderr(self):
        m = POISON.search(self.err_text())
        assert not m, "bellhopd says:\n" + self.err_text()[m.start():][:4000]

    # Life.

    def spawn(self, *args):
        env = dict(os.environ, **self.env)
        argv = [find_binary("bellhopd"), "--config", self.conf,
                "--foreground", *args]
        fds = [s.fileno() for _, s in self.held]
        if fds:
            argv = [sys.executable, "-c", HAND_OVER,
                    ",".join(map(str, fds)),
                    ":".join(name for name, _ in self.held)] + argv
        with open(self.stderr, "ab") as err:
            self.proc = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                env=env, pass_fds=fds)
        Daemon.running.append(self)

    def hold_sockets(self):
        """Listens in the daemon's place, as bellhop.socket does: each start
        hands the sockets over, and they stay when it ends."""
        s = socket.socket(socket.AF_UNIX)
        s.bind(self.sock)
        self.held = [("resp", s)]
        if self.http_port:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", self.http_port))
            self.held.append(("http", s))
        for _, s in self.held:
            s.listen(64)

    def _answers(self):
        if self.proc.poll() is not None:
            status = self._reaped()
            raise StartError(status, self.err_text())
        try:
            with Client(self.sock, proto=2, timeout=5) as c:
                return c.call("PING") == "PONG"
        except (OSError, Closed):
            return False
        except RespError:
            return False

    def start(self, *args):
        """Returns once it answers; StartError if it ends instead."""
        for attempt in range(5):
            mark = len(self.err_text())
            self.spawn(*args)
            try:
                wait_until(self._answers, "bellhopd's first answer")
                return self
            except StartError as e:
                if "in use" not in e.err[mark:] or attempt == 4:
                    e.err = e.err[mark:]
                    raise
                self.port = free_port()
                if self.http_port:
                    self.http_port = free_port()
                self.write_config()
        raise AssertionError("unreachable")

    def _reaped(self):
        if self in Daemon.running:
            Daemon.running.remove(self)
        status, self.proc = self.proc.wait(), None
        for c in self.clients:
            c.close()
        self.clients = []
        return status

    def wait_exit(self, timeout=None):
        """The exit status; -N for a signal."""
        try:
            self.proc.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self._reaped()
            raise AssertionError("bellhopd does not end") from None
        return self._reaped()

    def signal(self, number):
        self.proc.send_signal(number)

    def stop(self):
        """A clean stop: SIGTERM, exit status 0, nothing bad in the log."""
        if self.proc is None:
            return
        self.signal(signal.SIGTERM)
        status = self.wait_exit()
        self.check_stderr()
        assert status == 0, "bellhopd ended with %d:\n%s" % (
            status, self.err_text()[-4000:])

    def kill9(self):
        self.signal(signal.SIGKILL)
        self._reaped()
        self.check_stderr()

    def restart(self):
        self.stop()
        return self.start()

    def dead(self):
        return self.proc is None or self.proc.poll() is not None

    def destroy(self):
        try:
            if self.proc is not None:
                if self.proc.poll() is None:
                    self.stop()
                else:
                    status = self._reaped()
                    self.check_stderr()
                    raise AssertionError("bellhopd had ended with %s:\n%s"
                                         % (status, self.err_text()[-4000:]))
            else:
                self.check_stderr()
        finally:
            if self.proc is not None:
                self.proc.kill()
                self._reaped()
            if self.redis:
                self.redis.stop()
            if not os.environ.get("BELLHOP_TEST_KEEP"):
                shutil.rmtree(self.root, ignore_errors=True)

    # Talking to it.

    def client(self, proto=3, tcp=False, timeout=60):
        c = Client(("127.0.0.1", self.port) if tcp else self.sock,
                   proto, timeout)
        self.clients.append(c)
        return c

    def ctl(self, *args, stdin=None, timeout=60):
        """bellhopctl, as root on the unix socket."""
        p = subprocess.run(
            [find_binary("bellhopctl"), "--socket", self.sock, "--config",
             self.conf, *map(str, args)],
            input=stdin, capture_output=True, text=True, timeout=timeout,
            check=False, env=dict(os.environ, **self.env))
        assert not POISON.search(p.stderr), p.stderr
        return CtlResult(p.returncode, p.stdout, p.stderr)

    def ctl_ok(self, *args, **kw):
        r = self.ctl(*args, **kw)
        assert r.status == 0, "bellhopctl %s: %r" % (args, r)
        return r.out

    def ctl_json(self, *args):
        return json.loads(self.ctl_ok("--json", *args))

    def check_config(self, path=None):
        """bellhopd --check."""
        p = subprocess.run(
            [find_binary("bellhopd"), "--check", "--config",
             path or self.conf], capture_output=True, text=True, timeout=60,
            check=False)
        assert not POISON.search(p.stderr), p.stderr
        return CtlResult(p.returncode, p.stdout, p.stderr)

    def refused(self, *args):
        """Starts a daemon that has to refuse; its (status, words)."""
        try:
            self.start(*args)
        except StartError as e:
            assert e.status > 0, "ended by signal %d:\n%s" % (
                -e.status, e.err)
            assert not POISON.search(e.err), e.err
            return e.status, e.err
        raise AssertionError("bellhopd started although it should refuse")

    def reload(self):
        """Reads configuration and scripts again; the answer or the error."""
        with self.client() as c:
            c.send("BELLHOP", "RELOAD")
            return c.read()

    def reload_ok(self):
        r = self.reload()
        assert not isinstance(r, RespError), r
        return r
