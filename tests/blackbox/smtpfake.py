# SPDX-License-Identifier: MIT
"""A mail server that keeps what it gets, or refuses it."""
import base64
import socketserver
import threading


class Handler(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def ehlo(self):
        lines = ["fake.example", "8BITMIME"]
        if self.server.context and not self.secure:
            lines.append("STARTTLS")
        if self.secure or self.server.plain_auth:
            lines.append("AUTH PLAIN")
        for line in lines[:-1]:
            self.say("250-" + line)
        self.say("250 " + lines[-1])

    def starttls(self):
        self.say("220 go ahead")
        self.connection = self.server.context.wrap_socket(
            self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.secure = True

    def data(self, mail):
        self.say("354 go on")
        lines = []
        while True:
            line = self.rfile.readline()
            if line in (b".\r\n", b""):
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        mail["data"] = b"".join(lines)
        mail["secure"] = self.secure
        self.server.mails.append(mail)
        self.say("250 kept")

    def handle(self):
        self.secure = False
        if self.server.implicit:
            self.connection = self.server.context.wrap_socket(
                self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb")
            self.secure = True
        mail = {"rcpt": [], "login": None}
        self.say("220 fake.example ready")
        while True:
            line = self.rfile.readline().decode().strip()
            if not line:
                return
            word = line.split()[0].upper()
            refuse = self.server.refuse.get(word)
            if refuse and (":" not in refuse or
                           refuse.split(":")[0] in line):
                self.say(refuse.split(":")[-1])
            elif word == "EHLO":
                self.ehlo()
            elif word == "STARTTLS":
                self.starttls()
            elif word == "AUTH":
                parts = line.split()
                if len(parts) < 3:
                    self.say("334 ")
                    parts.append(self.rfile.readline().decode().strip())
                mail["login"] = base64.b64decode(parts[2]).split(b"\0")[1:]
                self.say("235 welcome")
            elif word == "MAIL":
                mail.update(rcpt=[], sender=line[10:].split()[0].strip("<>"))
                self.say("250 fine")
            elif word == "RCPT":
                mail["rcpt"].append(line[8:].strip("<>"))
                self.say("250 fine")
            elif word == "DATA":
                self.data(dict(mail))
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass                    # clients that do not trust us leave


class Fake:
    """refuse: command → answer, or "part of the line:answer"."""

    def __init__(self, context=None, implicit=False, plain_auth=False,
                 refuse=None):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.context = context
        self.server.implicit = implicit
        self.server.plain_auth = plain_auth
        self.server.refuse = refuse or {}
        self.server.mails = self.mails = []
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def url(self, host="127.0.0.1", scheme="smtp"):
        return "%s://%s:%d" % (scheme, host, self.port)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
