# SPDX-License-Identifier: MIT
"""An HTTP server that does what it is told by the request's path."""
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
        self.close_connection = True
        # Closed by the server otherwise, politely.
        self.connection.shutdown = lambda how: None
        self.connection.close()

    def handle_any(self):
        n = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n)
        path = self.path.split("?")[0]
        seen = {"method": self.command, "path": self.path,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body.decode("latin-1")}
        with self.server.lock:
            self.server.seen.append(seen)
        word, _, rest = path[1:].partition("/")
        if word == "echo":
            self.answer(200, json.dumps(seen).encode(),
                        [("Content-Type", "application/json"),
                         ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
                         ("X-Two", "one"), ("x-two", "two")])
        elif word == "status":
            code, _, after = rest.partition("/")
            head = [("Retry-After", after.replace("%20", " "))] \
                if after else []
            self.answer(int(code), b"said " + code.encode(), head)
        elif word == "redirect":
            code, _, to = rest.partition("/")
            to = to or self.server.target
            self.answer(int(code), b"moved", [("Location", to)])
        elif word == "loop":
            self.answer(302, b"", [("Location", "/loop")])
        elif word == "hold":
            with self.server.lock:
                self.server.held += 1
            # Until the client is gone.
            try:
                self.connection.settimeout(60)
                if not self.connection.recv(1):
                    with self.server.lock:
                        self.server.gone += 1
            except OSError:
                with self.server.lock:
                    self.server.gone += 1
            self.close_connection = True
        elif word == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            try:
                for _ in range(2000):
                    self.wfile.write(b"x")
                    time.sleep(0.03)
            except OSError:
                pass
            self.close_connection = True
        elif word == "big":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for _ in range(int(rest)):
                    self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                self.close_connection = True
        elif word == "reset":
            self.reset()
        elif word == "text":
            self.answer(200, b'{"a":1}', [("Content-Type", "text/plain")])
        elif word == "badjson":
            self.answer(200, b'{"a":', [("Content-Type",
                                         "application/json")])
        else:
            self.answer(404, b"no such page")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass                    # clients go away as they like


class Fake:
    def __init__(self, context=None, address="127.0.0.1"):
        self.httpd = Server((address, 0), Handler)
        self.httpd.lock = threading.Lock()
        self.httpd.seen = []
        self.httpd.connections = self.httpd.held = self.httpd.gone = 0
        self.httpd.target = "/echo/target"
        self.scheme = "http"
        if context:
            self.scheme = "https"
            self.httpd.socket = context.wrap_socket(
                self.httpd.socket, server_side=True,
                do_handshake_on_connect=False)
        self.port = self.httpd.server_address[1]
        self.thread = threading.Thread(target=self.httpd.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def url(self, path, host="127.0.0.1"):
        return "%s://%s:%d%s" % (self.scheme, host, self.port, path)

    def __getattr__(self, name):
        return getattr(self.httpd, name)

    def seen_at(self, path):
        return [s for s in self.httpd.seen if s["path"].startswith(path)]

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


def certificates(directory):
    """A throwaway authority and a certificate of it for localhost."""
    def path(name):
        return os.path.join(directory, name)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True,
                       cwd=directory)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
            "ca.pem", "-days", "30", "-subj", "/CN=Test authority")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "host.key", "-out", "host.csr", "-subj",
            "/CN=localhost")
    with open(path("ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=DNS:localhost\n")
    openssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey",
            "ca.key", "-CAcreateserial", "-out", "host.pem", "-days", "30",
            "-extfile", "ext")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("host.pem"), path("host.key"))
    return path("ca.pem"), context
