# SPDX-License-Identifier: MIT
"""Plays a transcript against a real daemon and compares every byte.

A transcript is a text file; each line begins with what it is:

    # words            a comment
    = NAME VALUE       an option of the configuration, before anything else
    @ NAME             goes on with the connection NAME (opens it at first)
    @ NAME tcp         the same over TCP
    > COMMAND          sends the words as a command (an array of bulk strings);
                       "double quotes" group words and know \\r \\n \\t \\" \\\\ \\xHH
    >> BYTES           sends exactly this, with the same escapes, nothing added
    < LINE             expects exactly this line and its CRLF, escapes as above
    <~ PATTERN         expects one line that the regular expression matches;
                       a group (?P<id>…) makes ${id} from then on
    <= VALUE           expects one answer with this value: a string of either
                       kind, or a number
    <: N               expects any N whole answers
    <{ a=b c~d e!      expects one map (flat in RESP2) that has a with the value
                       b, c with one that matches d, and no e; "quotes" allowed
    <! closed          expects the end of the connection
    <. nothing         expects that no byte has come; an ECHO proves it
    ! until COMMAND => PATTERN   repeats a command until its answer, written as
                       in Python, matches
    ! restart | kill   stops the daemon cleanly or by SIGKILL, and starts it
    ! script NAME TEXT writes a script and reloads
    ${name}            stands for what was caught, in sends and expectations

Lines are read with the connection's time-out, so nothing sleeps.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "blackbox"))

from daemon import Daemon, wait_until  # noqa: E402
from resp import Client, Closed, RespError, as_map, encode  # noqa: E402

ESCAPES = {"r": "\r", "n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def unescape(text):
    """"\\r" and its like as the bytes they mean."""
    out, i = bytearray(), 0
    while i < len(text):
        ch = text[i]
        if ch == "\\" and i + 1 < len(text):
            nxt = text[i + 1]
            if nxt == "x":
                out.append(int(text[i + 2:i + 4], 16))
                i += 4
                continue
            out += ESCAPES[nxt].encode()
            i += 2
            continue
        out += ch.encode()
        i += 1
    return bytes(out)


def words(text):
    """The words of a command, quoted ones taken apart."""
    out = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text):
        out.append(plain.encode() if plain else unescape(quoted))
    return out


def fields(text):
    """name, operator and value of each part of <{."""
    part = r'(\w+)(?:([=~])(?:"((?:[^"\\]|\\.)*)"|(\S*))|(!))'
    rest = re.sub(part, "", text).strip()
    if rest:
        raise ValueError("not a field: " + rest)
    for name, op, quoted, plain, gone in re.findall(part, text):
        value = unescape(quoted).decode() if quoted else plain
        yield name, gone or op, value


class Failure(AssertionError):
    """A transcript that does not come true."""


class Player:
    def __init__(self, path):
        self.path = path
        self.vars = {}
        self.conns = {}
        self.conn = None
        self.daemon = None
        self.options = {}
        self.line = 0

    def play(self):
        try:
            with open(self.path, encoding="utf-8") as f:
                for self.line, text in enumerate(f, 1):
                    self.step(text.rstrip("\n"))
            for conn in self.conns.values():
                self.quiet(conn)
        except Failure:
            raise
        except Exception as e:
            raise Failure("%s:%d: %s: %s" % (
                self.path, self.line, type(e).__name__, e)) from e
        finally:
            for conn in self.conns.values():
                conn.close()
            if self.daemon:
                self.daemon.destroy()

    def fail(self, wanted, got):
        raise Failure("%s:%d: expected %s, got %r" % (
            self.path, self.line, wanted, got))

    def fill(self, text):
        return re.sub(r"\$\{(\w+)\}", lambda m: self.vars[m.group(1)], text)

    def step(self, text):
        if not text.strip() or text.startswith("#"):
            return
        kind, _, rest = text.partition(" ")
        verb = self.VERBS.get(kind)
        if not verb:
            raise ValueError("no such line: " + text)
        if kind != "=" and not self.daemon:
            self.daemon = Daemon(self.options)
            self.daemon.start()
        if kind not in ("=", "@", "!") and not self.conn:
            self.connect("main")
        verb(self, self.fill(rest))

    # What lines do.

    def option(self, rest):
        name, _, value = rest.partition(" ")
        self.options[name] = int(value) if value.isdigit() else value

    def connect(self, rest):
        name, _, way = rest.partition(" ")
        if name not in self.conns:
            address = ("127.0.0.1", self.daemon.port) if way == "tcp" \
                else self.daemon.sock
            self.conns[name] = Client(address, proto=2, timeout=45)
        self.conn = self.conns[name]

    def send(self, rest):
        self.conn.send_raw(encode(words(rest)))

    def send_bytes(self, rest):
        self.conn.send_raw(unescape(rest))

    def expect(self, rest):
        got = self.conn.read_line()
        if got != unescape(rest):
            self.fail(repr(unescape(rest)), got)

    def expect_like(self, rest):
        got = self.conn.read_line().decode("utf-8", "replace")
        m = re.fullmatch(rest, got)
        if not m:
            self.fail("a line like " + rest, got)
        self.vars.update(m.groupdict())

    def expect_value(self, rest):
        got = self.conn.read()
        if isinstance(got, RespError) or \
                str(got) != unescape(rest).decode("utf-8", "surrogateescape"):
            self.fail(rest, got)

    def expect_any(self, rest):
        for _ in range(int(rest)):
            self.conn.read()

    def expect_map(self, rest):
        got = self.conn.read()
        if isinstance(got, RespError) or not isinstance(got, (list, dict)):
            self.fail("a map", got)
        got = as_map(got)
        for name, op, value in fields(rest):
            if op == "!":
                ok = name not in got
            elif op == "=":
                ok = name in got and str(got[name]) == value
            else:
                ok = name in got and re.fullmatch(value, str(got[name]))
            if not ok:
                self.fail("%s%s%s" % (name, op, value), got)
        if "id" in got:
            self.vars["id"] = str(got["id"])
        if "token" in got:
            self.vars["token"] = str(got["token"])

    def expect_end(self, rest):
        if rest != "closed":
            raise ValueError("<! closed")
        try:
            got = self.conn.read_line()
        except Closed:
            for name, conn in list(self.conns.items()):
                if conn is self.conn:
                    del self.conns[name]
            self.conn.close()
            self.conn = None
            return
        self.fail("the end of the connection", got)

    def quiet(self, conn):
        conn.send("ECHO", "that was all")
        got = conn.read()
        if got != "that was all":
            self.fail("nothing more", got)

    def expect_nothing(self, _):
        self.quiet(self.conn)

    def order(self, rest):
        verb, _, rest = rest.partition(" ")
        if verb == "until":
            command, _, pattern = rest.partition(" => ")
            with Client(self.daemon.sock, proto=3) as c:
                wait_until(lambda: re.search(pattern, str(
                    c.pipe([words(command)])[0])), rest)
        elif verb in ("restart", "kill"):
            for conn in self.conns.values():
                conn.close()
            self.conns, self.conn = {}, None
            if verb == "kill":
                self.daemon.kill9()
            else:
                self.daemon.stop()
            self.daemon.start()
        elif verb == "script":
            name, _, source = rest.partition(" ")
            self.daemon.write_script(name, source)
            self.daemon.reload_ok()
        else:
            raise ValueError("no such order: " + verb)

    VERBS = {"=": option, "@": connect, ">": send, ">>": send_bytes,
             "<": expect, "<~": expect_like, "<:": expect_any,
             "<=": expect_value,
             "<{": expect_map, "<!": expect_end, "<.": expect_nothing,
             "!": order}


if __name__ == "__main__":
    for transcript in sys.argv[1:]:
        Player(transcript).play()
        print("ok", transcript)
