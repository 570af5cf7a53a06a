# SPDX-License-Identifier: MIT
"""Webhooks of scripts, through the HTTP door."""
import hashlib
import hmac
import json
import os
import signal
import threading
import time

import pytest

from daemon import wait_until
from web import Web

HTTP = True

SCRIPTS = {
    "plain.lua": "return { queue = 'plain', hook = {} }",
    "git.lua": """
return {
  queue = "git", concurrency = 50, retention = { completed_count = 5000 },
  hook = {
    name = "github", secret = { "git", "git-old" }, delivery = "X-Delivery",
    header = "X-Hub-Signature-256",
    accept = function(req)
      local d = req.json
      if d.skip then return nil end
      if d.raise then error("no good: " .. d.raise) end
      if d.many then
        local jobs = {}
        for i, q in ipairs(d.many) do jobs[i] = { queue = q, data = i } end
        return jobs
      end
      return { group = d.repo, unique = d.unique, delay = d.delay,
               data = { n = d.n, event = req.headers["x-event"] } }
    end,
  },
  perform = function(job) return job.data end,
}
""",
    "meta.lua": """
return {
  hook = {
    name = "meta", secret = "git", header = "X-Hub-Signature-256",
    challenge = function(req)
      if req.query["hub.verify_token"] == "ours" then
        return { reply = { body = req.query["hub.challenge"] } }
      end
    end,
    accept = function(req)
      if req.json.type == "url_verification" then
        return { reply = { body = { challenge = req.json.challenge } } }
      end
      return { queue = "meta", data = req.json }
    end,
  },
}
""",
    "stripe.lua": """
return {
  queue = "stripe",
  hook = { secret = "git", header = "Stripe-Signature", field = "v1",
           payload = "{timestamp}.{body}", timestamp = { field = "t" } },
}
""",
    "slow.lua": """
return { queue = "slow", hook = { accept = function(req)
  sleep("300ms")
  return { data = 1 }
end } }
""",
    "broken.lua": "return { hook = { name = 'broken' ",
}
CONFIG = 'queues = ( { name = "tiny"; max_waiting = 1; } );'


def prepare(d):
    for name, text in (("git", "new secret\n"), ("git-old", "old secret\n")):
        with open(os.path.join(d.secrets, name), "w", encoding="utf-8") as f:
            f.write(text)


@pytest.fixture
def w(bh):
    with Web(bh) as web:
        yield web


def sign(body, secret="new secret"):
    return "sha256=" + hmac.new(secret.encode(), body.encode(),
                                hashlib.sha256).hexdigest()


def git(w, data, secret="new secret", delivery=None, **headers):
    body = json.dumps(data)
    headers["X-Hub-Signature-256"] = sign(body, secret)
    if delivery:
        headers["X-Delivery"] = delivery
    return w.ask("POST", "/hooks/github", body, headers)


def waiting(c, queue):
    return c.call("QUEUE.STATS", queue)["waiting"]


def test_body_is_the_payload_without_accept(w, c):
    body = b'\xff{"a": 1.50}\n'
    r = w.post("/hooks/plain", body)
    assert r.status == 202
    assert r.json == {"id": r.json["id"], "queue": "plain",
                      "state": "waiting"}
    assert r.headers["content-type"] == "application/json"
    job = c.get(r.json["id"])
    assert job["payload"].encode("utf-8", "surrogateescape") == body


def test_accepted_work_is_handled_later(w, c):
    r = git(w, {"n": 7, "repo": "a/b"}, **{"X-Event": "push"})
    assert r.status == 202
    job = c.completed(r.json["id"])
    assert json.loads(job["result"]) == {"n": 7, "event": "push"}
    assert job["group"] == "a/b"


def test_authorization_is_for_the_script(w, c):
    for value in ("Basic YTpi", "Bearer no-token-of-ours"):
        r = w.ask("POST", "/hooks/github", "{}", {
            "Authorization": value, "X-Hub-Signature-256":
            sign("{}", "new secret")})
        assert r.status == 202, r
        c.completed(r.json["id"])


def test_job_options_of_accept_hold(w, c):
    r = git(w, {"n": 1, "delay": "1h"})
    assert r.json["state"] == "delayed"
    r = git(w, {"n": 1, "delay": "1h", "unique": "one"})
    assert r.status == 202
    again = git(w, {"n": 2, "delay": "1h", "unique": "one"})
    assert again.status == 200
    assert again.json["duplicate"] is True
    assert again.json["id"] == r.json["id"]


def test_forged_request_is_401_and_leaves_nothing(bh, w, c):
    before = c.call("QUEUE.STATS", "git")
    body = json.dumps({"n": 1})
    for headers in ({}, {"X-Hub-Signature-256": "sha256=" + "0" * 64},
                    {"X-Hub-Signature-256": sign(body, "guess")},
                    {"X-Hub-Signature-256": sign(body + " ")}):
        r = w.ask("POST", "/hooks/github", body, headers)
        assert r.status == 401
        assert r.code == "NOAUTH"
        assert "secret" not in r.detail
    after = c.call("QUEUE.STATS", "git")
    assert {k: v for k, v in after.items() if "_ms" not in k} == \
        {k: v for k, v in before.items() if "_ms" not in k}
    # One line tells of the first; the others are counted later.
    assert bh.err_text().count('webhook "github" from') == 1


def test_old_secret_is_good_while_it_is_listed(w):
    assert git(w, {"n": 1}, secret="old secret").status == 202


def test_nothing_is_stored_when_accept_wants_nothing(w, c):
    before = c.call("QUEUE.STATS", "git")["processed_total"]
    r = git(w, {"skip": True})
    assert r.status == 204
    assert r.body == b""
    assert c.call("QUEUE.STATS", "git")["processed_total"] == before


def test_error_of_accept_is_500_and_says_nothing(bh, w):
    r = git(w, {"raise": "top secret"})
    assert r.status == 500
    assert "top secret" not in r.body.decode()
    assert "no good: top secret" in bh.err_text()


def test_list_is_stored_whole_or_not_at_all(w, c, q):
    r = git(w, {"many": [q, q + ".b", q]})
    assert r.status == 202
    assert len(r.json["ids"]) == 3
    assert [json.loads(c.get(i)["payload"]) for i in r.json["ids"]] == \
        [1, 2, 3]
    assert c.get(r.json["ids"][1])["queue"] == q + ".b"
    c.add("tiny", "x")
    r = git(w, {"many": [q, "tiny", q]})
    assert r.status == 429
    assert int(r.headers["retry-after"]) > 0
    assert waiting(c, q) == 2


def test_a_delivery_is_stored_once(bh, w, c):
    r = git(w, {"many": ["deliveries"]}, delivery="d-1")
    assert r.status == 202
    for _ in range(3):
        again = git(w, {"many": ["deliveries"]}, delivery="d-1")
        assert again.status == 200
        assert again.json == {"duplicate": True}
    assert git(w, {"many": ["deliveries"]}, delivery="d-2").status == 202
    assert waiting(c, "deliveries") == 2
    # Known or not, it has to be genuine.
    assert git(w, {"many": ["deliveries"]}, secret="guess",
               delivery="d-1").status == 401


def test_one_delivery_on_many_connections_is_stored_once(bh, c):
    results = []

    def one():
        with Web(bh) as web:
            results.append(git(web, {"many": ["rush"]},
                               delivery="rush").status)
    threads = [threading.Thread(target=one) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [200] * 11 + [202]
    assert waiting(c, "rush") == 1


def test_refused_delivery_may_come_again(w, c):
    assert git(w, {"raise": "x"}, delivery="r-1").status == 500
    assert git(w, {"many": ["retried"]}, delivery="r-1").status == 202
    assert waiting(c, "retried") == 1


def test_challenge_of_get_and_of_post(w, c):
    r = w.get("/hooks/meta", **{"hub.mode": "subscribe",
                                "hub.verify_token": "ours",
                                "hub.challenge": "1158201444"})
    assert r.status == 200
    assert r.body == b"1158201444"
    assert r.headers["content-type"].startswith("text/plain")
    assert w.get("/hooks/meta", **{"hub.verify_token": "x"}).status == 403
    body = json.dumps({"type": "url_verification", "challenge": "abc"})
    r = w.ask("POST", "/hooks/meta", body,
              {"X-Hub-Signature-256": sign(body)})
    assert r.status == 200
    assert r.json == {"challenge": "abc"}
    assert waiting(c, "meta") == 0


def test_signed_time_must_be_now(w):
    def stripe(age):
        t = str(int(time.time()) - age)
        mac = hmac.new(b"new secret", (t + ".{}").encode(), hashlib.sha256)
        return w.ask("POST", "/hooks/stripe", "{}", {
            "Stripe-Signature": "t=%s,v1=%s" % (t, mac.hexdigest())})
    assert stripe(0).status == 202
    r = stripe(3600)
    assert r.status == 401
    assert "outside of the window" in r.detail


def test_unknown_broken_and_wrong_method(w):
    assert w.post("/hooks/nobody", "{}").status == 404
    r = w.post("/hooks/broken", "{}")
    assert r.status == 503
    assert int(r.headers["retry-after"]) > 0
    assert w.get("/hooks/github").status == 405


def test_two_scripts_may_not_declare_one_hook(make):
    d = make(scripts={
        "a.lua": "return { queue = 'a', hook = { name = 'in' } }",
        "b.lua": "return { queue = 'b', hook = { name = 'in' } }"},
        http=True)
    with Web(d) as w, d.client() as c:
        assert w.post("/hooks/in", "x").json["queue"] == "a"
        assert 'hook "in" is declared by' in d.err_text()
        d.remove_script("a.lua")
        d.reload_ok()
        assert w.post("/hooks/in", "x").json["queue"] == "b"
        d.remove_script("b.lua")
        d.reload_ok()
        assert w.post("/hooks/in", "x").status == 404
        assert waiting(c, "a") == waiting(c, "b") == 1


def test_secret_that_comes_later_needs_a_reload(make):
    d = make(scripts={"a.lua": "return { queue = 'a', hook = { "
                      "secret = 'late', header = 'X-Sig' } }"}, http=True)
    assert "secret 'late' of hook \"a\" cannot be read" in d.err_text()
    with Web(d) as w:
        def ask():
            return w.ask("POST", "/hooks/a", "x",
                         {"X-Sig": sign("x", "hush")}).status
        assert ask() == 503
        with open(os.path.join(d.secrets, "late"), "w",
                  encoding="utf-8") as f:
            f.write("hush")
        d.reload_ok()
        assert ask() == 202


def test_request_that_was_received_is_answered_at_the_stop(make):
    d = make(scripts=SCRIPTS, http=True)
    answers = []

    def one():
        with Web(d) as web:
            answers.append(web.post("/hooks/slow", "x").status)
    threads = [threading.Thread(target=one) for _ in range(4)]
    for t in threads:
        t.start()
    with d.client() as c:
        wait_until(lambda: any("handlers_running" in k and v == 4 for k, v in
                               c.call("BELLHOP", "STATUS")["process"].items()))
    d.signal(signal.SIGTERM)
    for t in threads:
        t.join()
    assert d.wait_exit() == 0
    assert answers == [202] * 4
    d.start()
    with d.client() as c:
        assert waiting(c, "slow") == 4


def test_every_202_is_handled_after_a_crash(make):
    """2000 webhooks, kill -9 in the middle: what was answered is there."""
    d = make(scripts={"git.lua": SCRIPTS["git.lua"]}, http=True, start=False)
    prepare(d)
    d.start()
    accepted, lock, n = [], threading.Lock(), iter(range(2000))

    def sender():
        try:
            with Web(d) as web:
                while True:
                    with lock:
                        i = next(n, None)
                    if i is None:
                        return
                    r = git(web, {"n": i}, delivery="c-%d" % i)
                    assert r.status == 202, r
                    with lock:
                        accepted.append((i, r.json["id"]))
        except OSError:
            return
        except Exception as e:      # http.client's, when the daemon dies
            if type(e).__module__ != "http.client":
                raise

    threads = [threading.Thread(target=sender) for _ in range(8)]
    for t in threads:
        t.start()
    wait_until(lambda: len(accepted) >= 700)
    d.kill9()
    for t in threads:
        t.join()
    assert 700 <= len(accepted) < 2000
    d.start()
    with d.client() as c:
        wait_until(lambda: c.call("QUEUE.STATS", "git")["waiting"] +
                   c.call("QUEUE.STATS", "git")["active"] == 0)
        for i, job in accepted:
            got = c.get(job)
            assert got["state"] == "completed"
            assert json.loads(got["result"])["n"] == i
        assert c.call("QUEUE.STATS", "git")["failed"] == 0
