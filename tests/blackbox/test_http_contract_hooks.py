# SPDX-License-Identifier: MIT
"""POST /hooks/{name}: verified, stored, answered 202; as senders see it."""
import base64
import hashlib
import hmac
import json
import os
import socket

import pytest

from web import Web, read_all

HTTP = True
KEY = b"s3cret\xc3\xa9"
SCRIPTS = {
    "chatwoot.lua": """return {
  queue = "inbound", concurrency = 1,
  hook = { name = "chatwoot", secret = "chatwoot",
    signature = "hmac-sha256", header = "X-Chatwoot-Signature",
    accept = function(req)
      local j = req.json
      if j.kind == "none" then return nil end
      if j.kind == "raise" then error("not now") end
      if j.kind == "many" then
        return { { queue = "many", data = { n = 1 } },
                 { queue = "many", data = { n = 2 }, priority = 1 } }
      end
      if j.kind == "bad" then
        return { { queue = "bad", data = 1 }, { queue = "b d", data = 2 } }
      end
      return { queue = "stored", group = j.group, data = {
        method = req.method, path = req.path, q = req.query.a,
        agent = req.headers["x-sender"], body = #req.body } }
    end },
}""",
    "plain.lua": """return { hook = { name = "plain", secret = "chatwoot",
  signature = "hmac-sha256", header = "X-Sig", encoding = "base64" },
  queue = "plain" }""",
    "open.lua": 'return { queue = "open", hook = { name = "open" } }',
}


def prepare(d):
    # A final newline is no part of the secret.
    with open(os.path.join(d.secrets, "chatwoot"), "wb") as f:
        f.write(KEY + b"\n")


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def digest(body):
    return hmac.new(KEY, body, hashlib.sha256)


def call(w, body, prefix="", **more):
    body = json.dumps(body).encode()
    return w.ask("POST", "/hooks/chatwoot" + more.pop("query", ""), body, {
        "X-Chatwoot-Signature": prefix + digest(body).hexdigest(),
        "X-Sender": "here"})


@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_verified_request_is_a_job(w, c, prefix):
    r = call(w, {"kind": "one", "group": "g7"}, prefix, query="?a=b%20c")
    assert r.status == 202, r
    assert r.json["id"].isdigit() and r.json["queue"] == "stored"
    assert r.json["state"] == "waiting"
    job = c.get(r.json["id"])
    assert job["group"] == "g7"
    data = json.loads(job["payload"])
    assert data["method"] == "POST" and data["path"] == "/hooks/chatwoot"
    assert data["q"] == "b c" and data["agent"] == "here"
    assert data["body"] == len(json.dumps({"kind": "one", "group": "g7"}))


def test_a_list_is_all_or_none(w, c):
    r = call(w, {"kind": "many"})
    assert r.status == 202, r
    jobs = c.fetch("many", COUNT=5)
    assert [json.loads(j["payload"])["n"] for j in jobs] == [2, 1]
    r = call(w, {"kind": "bad"})
    assert r.status == 500, r
    assert c.stats("bad")["waiting"] == 0


def test_nil_stores_nothing(w):
    r = call(w, {"kind": "none"})
    assert r.status == 204 and r.body == b""


def test_an_error_asks_for_another_try(w, c):
    before = c.stats("stored")["waiting"]
    r = call(w, {"kind": "raise"})
    assert r.status == 500, r
    assert b"not now" not in r.body
    assert c.stats("stored")["waiting"] == before


@pytest.mark.parametrize("signature", [
    None, "", "sha256=", "0" * 64, "zz", "sha256=" + "f" * 64,
    hmac.new(b"other", b"{}", hashlib.sha256).hexdigest(),
    digest(b"{} ").hexdigest(), digest(b"{}").hexdigest()[:-1],
    digest(b"{}").hexdigest() + "0"])
def test_bad_signatures_are_401(w, c, signature):
    headers = {} if signature is None else {"X-Chatwoot-Signature": signature}
    before = c.stats("stored")["waiting"]
    r = w.ask("POST", "/hooks/chatwoot", b"{}", headers)
    assert r.status == 401, r
    assert r.headers["content-type"] == "application/problem+json"
    assert c.stats("stored")["waiting"] == before


def test_base64_and_the_body_as_payload(w, c):
    body = b"\x00\xffbytes"
    r = w.ask("POST", "/hooks/plain", body, {
        "X-Sig": base64.b64encode(digest(body).digest()).decode()})
    assert r.status == 202, r
    assert c.get(r.json["id"])["payload"].encode(
        "utf-8", "surrogateescape") == body
    r = w.ask("POST", "/hooks/plain", body, {
        "X-Sig": base64.b64encode(b"x" * 32).decode()})
    assert r.status == 401, r


def test_hooks_need_no_role_and_no_name(make):
    d = make({"loopback_role": "none"}, http=True, scripts={
        "open.lua": SCRIPTS["open.lua"]})
    with socket.create_connection(("127.0.0.1", d.http_port), 45) as s:
        s.sendall(b"POST /hooks/open HTTP/1.1\r\nHost: public.example\r\n"
                  b"Content-Length: 2\r\nConnection: close\r\n\r\nhi")
        answer = read_all(s)
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    with d.client() as c:
        assert c.fetch1("open")["payload"] == "hi"


def test_an_accepted_hook_survives_kill_9(make):
    d = make(http=True, scripts={"open.lua": SCRIPTS["open.lua"]})
    with Web(d) as w:
        ids = [w.post("/hooks/open", b"%d" % n) for n in range(50)]
        assert all(r.status == 202 for r in ids)
        ids = [r.json["id"] for r in ids]
    d.kill9()
    d.start()
    with d.client() as c:
        assert [c.get(i)["payload"] for i in ids] == [
            str(n) for n in range(50)]


def test_other_methods_and_names(w):
    assert w.ask("DELETE", "/hooks/open").status == 405
    r = w.post("/hooks/nobody", b"x")
    assert r.status == 404 and r.code == "NOTFOUND"


def test_a_body_over_the_limit(make):
    d = make({"max_payload": "4KiB"}, http=True, scripts={
        "open.lua": SCRIPTS["open.lua"]})
    with Web(d) as w:
        r = w.post("/hooks/open", b"x" * 4097)
        assert r.status == 413 and r.code == "TOOBIG", r
