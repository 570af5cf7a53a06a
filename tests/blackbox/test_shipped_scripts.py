# SPDX-License-Identifier: MIT
"""The scripts of scripts/, against servers of the tests' own that do what the
services they are made for do."""
import base64
import collections
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import os
import re
import subprocess
import threading
import time

import pytest

import smtpfake
from daemon import TOP, conf_value, find_binary, free_port, wait_until
from web import Web

DIR = os.path.join(TOP, "scripts")
SOON = {"BACKOFF": ("FIXED", 50, "JITTER", 0)}

Seen = collections.namedtuple("Seen", "at path headers body json")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(time.monotonic(), self.path,
                    {k.lower(): v for k, v in self.headers.items()}, body,
                    json.loads(body))
        with self.server.lock:
            self.server.seen.append(seen)
        answer = self.server.answer(seen)
        status, data = answer[:2]
        body = json.dumps(data).encode()
        self.send_response(status)
        for k, v in (answer[2] if len(answer) > 2 else {}).items():
            self.send_header(k, v)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass                    # clients go away as they like


class Api:
    """A service: answer(seen) is (status, json) or (status, json, headers)."""

    def __init__(self):
        self.httpd = Server(("127.0.0.1", 0), Handler)
        self.httpd.lock = threading.Lock()
        self.httpd.seen = self.seen = []
        self.httpd.answer = lambda seen: (200, {})
        self.url = "http://127.0.0.1:%d" % self.httpd.server_address[1]
        self.thread = threading.Thread(target=self.httpd.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def answers(self, fn):
        self.httpd.answer = fn

    def in_turn(self, *answers):
        """Each once, the last one again and again."""
        left = list(answers)

        def fn(seen):
            with self.httpd.lock:
                return left.pop(0) if len(left) > 1 else left[0]
        self.answers(fn)

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


@pytest.fixture
def api():
    a = Api()
    yield a
    a.close()


@pytest.fixture
def mailer():
    fake = smtpfake.Fake(refuse={"RCPT": "nobody@:550 no such user"})
    yield fake
    fake.close()


def shipped(name, *changes):
    with open(os.path.join(DIR, name), encoding="utf-8") as f:
        text = f.read()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def group(values):
    """Text of a group of the configuration."""
    return "{ %s }" % " ".join("%s = %s;" % (
        k, group(v) if isinstance(v, dict) else conf_value(v))
        for k, v in values.items())


@pytest.fixture
def hotel(make):
    """A daemon with these scripts, configuration and secrets."""
    def maker(scripts, config=None, secrets=None, options=None, http=False):
        if not isinstance(scripts, dict):
            scripts = {name: shipped(name) for name in scripts}
        d = make(options, "config = %s;" % group(config or {}), scripts,
                 http=http, start=False)
        for name, text in (secrets or {}).items():
            with open(os.path.join(d.secrets, name), "w",
                      encoding="utf-8") as f:
                f.write(text + "\n")
        return d.start()
    return maker


def result(job):
    return json.loads(job["result"])


# The specs beside them.

def test_the_specs_pass():
    r = subprocess.run([find_binary("bellhopctl"), "test",
                        os.path.join(DIR, "specs")], capture_output=True,
                       text=True, timeout=120, check=False)
    assert r.returncode == 0, r.stdout + r.stderr
    assert " 0 failed" in r.stdout
    specs = {n[:-len("_spec.lua")] for n in
             os.listdir(os.path.join(DIR, "specs"))}
    assert specs == {n[:-4] for n in os.listdir(DIR) if n.endswith(".lua")}


def test_all_of_them_load_together(hotel):
    names = [n for n in os.listdir(DIR) if n.endswith(".lua")]
    d = hotel(names, {
        "whatsapp": {"phone_id": "1"},
        "chatwoot": {"url": "http://x.example", "answer_url": "http://x"},
        "webhook_out": {"pms": {"url": "http://x.example", "secret": "s"}},
        "report": {"to": "a@b.example", "queues": ["x"]},
        "conversations": {"answer_url": "http://x"}},
        {"chatwoot-hook": "s", "conversations-hook": "s"}, http=True)
    listed = {os.path.basename(s["file"]): s
              for s in d.ctl_json("script", "list")}
    assert set(listed) == set(names)
    assert not [s for s in listed.values() if s.get("error")], listed


def test_without_its_configuration_a_script_keeps_its_jobs(hotel):
    d = hotel(["whatsapp.lua"])
    c = d.client()
    id = c.add("outbound.whatsapp", '{"to": "1", "text": "x"}')
    assert "config.whatsapp.phone_id is missing" in d.ctl(
        "script", "list").out
    assert c.state(id) == "waiting"


# The tutorial.

def tutorial():
    """(command, the lines that it is said to print) …"""
    with open(os.path.join(DIR, "README.md"), encoding="utf-8") as f:
        text = f.read().split("## Your own script")[1].split("\n## ")[0]
    commands = []
    for block in text.split("```")[1::2]:
        heredoc = False
        for line in block.strip("\n").split("\n"):
            if heredoc:
                commands[-1][0] += "\n" + line
                heredoc = line != "END"
            elif line.startswith("$ "):
                commands.append([line[2:], []])
                heredoc = "<<" in line
            else:
                commands[-1][1].append(line)
    return commands


def comparable(line):
    """Times differ, and the members of an object have no order."""
    return sorted(line.split(" ago  ")[-1])


@pytest.mark.embedded("ids are others")
def test_the_tutorial_is_true(make):
    d = make()
    c = d.client()
    work = os.path.join(d.root, "work")
    os.mkdir(work)

    def sh(command):
        command = command.replace("sudo ", "").replace(
            "/etc/bellhop/scripts", d.scripts).split("   # ")[0]
        p = subprocess.run(
            ["bash", "-ec", 'bellhopctl() { "%s" --socket "%s" --config "%s" '
             '"$@"; }\n%s' % (find_binary("bellhopctl"), d.sock, d.conf,
                              command)],
            cwd=work, capture_output=True, text=True, timeout=60, check=False)
        assert p.returncode == 0, (command, p.stdout, p.stderr)
        return p.stdout

    commands = tutorial()
    assert len(commands) >= 15
    for command, printed in commands:
        if command.startswith("bellhopctl events"):
            continue            # it would not end
        if command == "bellhopctl job 1":
            c.completed("1")
        elif command == "bellhopctl job 3":
            wait_until(lambda: c.get("3")["error_count"] == 2, "two tries")
        elif command == "bellhopctl promote 3":
            version = re.search(r"version (\w+)", sh(
                "bellhopctl script check bills.lua")).group(1)
            wait_until(lambda: any(
                s["version"] == version
                for s in d.ctl_json("script", "list")), "the mended script")
            wait_until(lambda: c.state("3") in ("delayed", "failed"),
                       "the end of a try")
            if c.state("3") == "failed":
                command = "bellhopctl retry 3"  # as it says below
        out = [comparable(x) for x in sh(command).splitlines()]
        for line in printed:
            if not line.startswith(("…", "time:", "TRY")) and \
                    "version" not in line:
                assert comparable(line) in out, (command, line, out)
    assert json.loads(c.completed("3")["result"])["total"] == 80


# WhatsApp.

@pytest.fixture
def whatsapp(hotel, api):
    numbers = iter(range(1, 1000))
    api.answers(lambda seen: (200, {"messages": [
        {"id": "wamid.%d" % next(numbers)}]}))
    d = hotel(["whatsapp.lua"], {"whatsapp": {"phone_id": "1055",
                                              "url": api.url}},
              {"whatsapp": "the token"})
    return d.client()


def say(c, guest, text, **opts):
    return c.add("outbound.whatsapp", json.dumps(
        {"to": guest, "text": text}), GROUP=guest, **opts)


def texts(api, guest=None):
    return [s.json["text"]["body"] for s in api.seen
            if guest is None or s.json["to"] == guest]


def test_whatsapp_sends(whatsapp, api):
    id = say(whatsapp, "351900", "Olá")
    assert result(whatsapp.completed(id)) == {"message": "wamid.1"}
    assert api.seen[0].path == "/1055/messages"
    assert api.seen[0].headers["authorization"] == "Bearer the token"


def test_whatsapp_keeps_each_guests_order_over_retries(whatsapp, api):
    failed = set()

    def answer(seen):
        body = seen.json["text"]["body"]
        if body in ("a2", "b1") and body not in failed:
            failed.add(body)
            return 500, {}
        return 200, {"messages": [{"id": body}]}
    api.answers(answer)
    ids = [say(whatsapp, guest, guest + str(n), **SOON)
           for n in range(1, 5) for guest in "ab"]
    for id in ids:
        whatsapp.completed(id)
    assert texts(api, "a") == ["a1", "a2", "a2", "a3", "a4"]
    assert texts(api, "b") == ["b1", "b1", "b2", "b3", "b4"]


def test_whatsapp_guests_do_not_wait_for_each_other(whatsapp, api):
    gate = threading.Event()

    def answer(seen):
        if seen.json["to"] == "slow":
            gate.wait(60)
        return 200, {"messages": [{"id": "x"}]}
    api.answers(answer)
    slow = [say(whatsapp, "slow", str(n)) for n in range(2)]
    wait_until(lambda: api.seen, "the slow guest's request")
    whatsapp.completed(say(whatsapp, "quick", "hello"))
    assert texts(api, "slow") == ["0"]
    gate.set()
    for id in slow:
        whatsapp.completed(id)
    assert texts(api, "slow") == ["0", "1"]


def test_whatsapp_429_holds_everybody(whatsapp, api):
    api.in_turn((429, {}, {"Retry-After": "2"}),
                (200, {"messages": [{"id": "x"}]}))
    first = say(whatsapp, "a", "a1")
    wait_until(lambda: "held_until" in whatsapp.stats("outbound.whatsapp")
               or len(api.seen) > 1, "the hold")
    others = [say(whatsapp, "a", "a2"), say(whatsapp, "b", "b1")]
    for id in [first] + others:
        assert whatsapp.completed(id).get("error_count", 0) == 0
    assert texts(api, "a") == ["a1", "a1", "a2"]
    assert texts(api, "b") == ["b1"]
    assert min(s.at for s in api.seen[1:]) - api.seen[0].at >= 1.99


def test_whatsapp_refuses_for_good(whatsapp, api):
    api.in_turn((400, {"error": {"code": 100, "message": "bad number"}}))
    job = whatsapp.failed(say(whatsapp, "x", "hello"))
    assert "bad number" in job["error"]
    assert len(api.seen) == 1


def test_whatsapp_80_a_minute(whatsapp, api):
    # 20 at once, then one a second: as often as the clock can show quickly.
    begin = time.monotonic()
    ids = [say(whatsapp, str(n), "x") for n in range(22)]
    for id in ids:
        whatsapp.completed(id)
    at = sorted(s.at - begin for s in api.seen)
    assert len(at) == 22
    assert at[20] >= 0.99
    assert at[21] >= 1.99


# Chatwoot.

def message(id, conversation=42, **more):
    return dict({"event": "message_created", "message_type": "incoming",
                 "id": id, "content": "text %d" % id, "account": {"id": 1},
                 "conversation": {"id": conversation, "status": "pending"},
                 "sender": {"id": 5, "name": "Ana"}}, **more)


def tell(d, data, delivery=None, key="shared", at=None):
    """As Chatwoot does: signed over the time and the body."""
    body = json.dumps(data)
    at = str(int(time.time() if at is None else at))
    sign = hmac.new(key.encode(), (at + "." + body).encode(), hashlib.sha256)
    with Web(d) as w:
        return w.ask("POST", "/hooks/chatwoot", body, {
            "Content-Type": "application/json",
            "X-Chatwoot-Timestamp": at,
            "X-Chatwoot-Signature": "sha256=" + sign.hexdigest(),
            "X-Chatwoot-Delivery": delivery or "d-%d" % data["id"]})


@pytest.fixture
def chatwoot(hotel, api):
    def answer(seen):
        if seen.path == "/answer":
            return 200, {"reply": "%d heard" % len(seen.json["messages"])}
        return 200, {"id": 99}
    api.answers(answer)
    return hotel(["chatwoot.lua"],
                 {"chatwoot": {"url": api.url,
                               "answer_url": api.url + "/answer"}},
                 {"chatwoot-hook": "shared", "chatwoot-api": "token"},
                 http=True)


def at_path(api, path):
    return [s for s in api.seen if s.path == path]


REPLY = "/api/v1/accounts/1/conversations/%d/messages"


def test_chatwoot_five_messages_are_one_call_in_order(chatwoot, api):
    c = chatwoot.client()
    ids = []
    for n in range(1, 6):
        r = tell(chatwoot, message(n))
        assert r.status == 202, r
        ids.append(r.json["id"])
    other = tell(chatwoot, message(6, 43)).json["id"]
    for id in ids:
        assert result(c.completed(id)) == {"messages": 5, "reply": 99}
    c.completed(other)
    asked = {s.json["conversation"]: s.json for s in at_path(api, "/answer")}
    assert len(at_path(api, "/answer")) == 2
    assert [m["text"] for m in asked[42]["messages"]] == [
        "text %d" % n for n in range(1, 6)]
    assert [m["text"] for m in asked[43]["messages"]] == ["text 6"]
    reply, = at_path(api, REPLY % 42)
    assert reply.json["content"] == "5 heard"
    assert reply.headers["api_access_token"] == "token"


def test_chatwoot_forged_and_stale_ones_are_not_stored(chatwoot):
    assert tell(chatwoot, message(1), key="guessed").status == 401
    assert tell(chatwoot, message(2), at=time.time() - 3600).status == 401
    assert tell(chatwoot, message(3, message_type="outgoing")).status == 204
    stats = chatwoot.client().stats("chatwoot")
    assert not any(stats[k] for k in (
        "waiting", "active", "delayed", "completed", "failed"))


def test_chatwoot_duplicates_are_stored_once(chatwoot, api):
    c = chatwoot.client()
    first = tell(chatwoot, message(1), "d-1")
    again = tell(chatwoot, message(1), "d-1")
    assert (first.status, again.status) == (202, 200)
    assert again.json["duplicate"] is True
    # The same message by another webhook.
    tell(chatwoot, message(1), "d-2")
    c.completed(first.json["id"])
    assert c.stats("chatwoot")["completed"] == 1
    assert [len(s.json["messages"]) for s in at_path(api, "/answer")] == [1]


def test_chatwoot_the_service_is_not_asked_again(chatwoot, api):
    replies = [(500, {}), (200, {"id": 99})]

    def answer(seen):
        if seen.path == "/answer":
            return 200, {"reply": "hello"}
        return replies.pop(0)
    api.answers(answer)
    c = chatwoot.client()
    ids = [tell(chatwoot, message(n)).json["id"] for n in (1, 2)]
    wait_until(lambda: len(at_path(api, REPLY % 42)) == 1, "the first try")
    late = tell(chatwoot, message(3)).json["id"]
    for id in ids:
        assert result(c.completed(id)) == {"messages": 2, "reply": 99}
    replies.append((200, {"id": 100}))
    assert result(c.completed(late))["messages"] == 1
    assert [[m["id"] for m in s.json["messages"]]
            for s in at_path(api, "/answer")] == [[1, 2], [3]]


# Telegram.

GOOD = (200, {"ok": True, "result": {"message_id": 9}})


@pytest.fixture
def telegram(hotel, api):
    api.in_turn(GOOD)
    d = hotel(["telegram.lua"], {"telegram": {"url": api.url}},
              {"telegram": "7:token"})
    return d.client()


def chat(c, id, text, **opts):
    return c.add("outbound.telegram", json.dumps({"chat": id, "text": text}),
                 GROUP=str(id), **opts)


def test_telegram_sends_in_order_one_a_second_for_each_chat(telegram, api):
    begin = time.monotonic()
    ids = [chat(telegram, 1, str(n)) for n in range(3)]
    ids += [chat(telegram, n, "x") for n in range(2, 12)]
    for id in ids:
        assert result(telegram.completed(id)) == {"message": 9}
    mine = [s for s in api.seen if s.json["chat_id"] == 1]
    assert [s.json["text"] for s in mine] == ["0", "1", "2"]
    assert mine[1].at - begin >= 0.99
    assert mine[2].at - begin >= 1.99
    assert mine[0].path == "/bot7:token/sendMessage"
    # The others did not wait for that chat.
    assert api.seen.index(mine[2]) == len(api.seen) - 1


def test_telegram_30_a_second(telegram, api):
    begin = time.monotonic()
    ids = [chat(telegram, n, "x") for n in range(1, 41)]
    for id in ids:
        telegram.completed(id)
    at = sorted(s.at - begin for s in api.seen)
    assert len(at) == 40
    # 5 at once and 25 a second.
    assert at[30] >= 1.0
    assert at[39] >= 1.36


def test_telegram_429_waits_as_it_says(telegram, api):
    api.in_turn((429, {"ok": False, "error_code": 429,
                       "description": "Too Many Requests",
                       "parameters": {"retry_after": 2}}), GOOD)
    job = telegram.completed(chat(telegram, 1, "x"))
    assert job.get("error_count", 0) == 0
    assert api.seen[1].at - api.seen[0].at >= 1.99


def test_telegram_keeps_its_token_to_itself(hotel):
    d = hotel(["telegram.lua"], {"telegram": {
        "url": "http://127.0.0.1:%d" % free_port()}}, {"telegram": "7:token"})
    c = d.client()
    id = chat(c, 1, "x", ATTEMPTS=1)
    job = c.failed(id)
    assert "/bot…/sendMessage" in job["error"]
    assert "7:token" not in job["error"] + d.err_text()


# Mail.

def test_email_with_an_attachment(hotel, mailer):
    d = hotel(["email.lua"], options={"mail_server": mailer.url(),
                                      "mail_from": "desk@hotel.example"})
    c = d.client()
    job = c.completed(c.add("email", json.dumps({
        "to": "Ana <ana@guest.example>", "subject": "A conta", "text": "Olá",
        "attachments": [{"name": "bill.pdf", "type": "application/pdf",
                         "base64": base64.b64encode(b"%PDF\0\xff").decode()}]
    })))
    mail, = mailer.mails
    msg = email.message_from_bytes(mail["data"], policy=email.policy.default)
    assert msg["Message-ID"] == "<%s>" % result(job)["id"]
    part, = msg.iter_attachments()
    assert part.get_filename() == "bill.pdf"
    assert part.get_content() == b"%PDF\0\xff"


def test_email_a_refused_address_is_for_good(hotel, mailer):
    d = hotel(["email.lua"], options={"mail_server": mailer.url(),
                                      "mail_from": "desk@hotel.example"})
    c = d.client()
    job = c.failed(c.add("email", json.dumps({
        "to": "nobody@guest.example", "subject": "x", "text": "x"})))
    assert "no such user" in job["error"]
    assert job["attempt"] == 1 and not mailer.mails


# Webhooks out.

def endpoints(api, *names):
    return {"webhook_out": {n: {"url": api.url + "/" + n, "secret": "key"}
                            for n in names}}


def notify(c, to, n=1, **opts):
    return c.add("webhook-out", json.dumps(
        {"to": to, "event": "booking.created", "data": {"n": n}}), **opts)


def test_webhook_out_is_signed(hotel, api):
    d = hotel(["webhook-out.lua"], endpoints(api, "pms"), {"key": "shared"})
    c = d.client()
    api.in_turn((500, {}), (204, {}))
    c.completed(notify(c, "pms", **SOON))
    for s in api.seen:
        h = s.headers
        assert h["x-bellhop-signature"] == "sha256=" + hmac.new(
            b"shared", h["x-bellhop-timestamp"].encode() + b"." + s.body,
            hashlib.sha256).hexdigest()
        assert h["x-bellhop-event"] == s.json["event"] == "booking.created"
        assert s.json["data"] == {"n": 1}
    assert len({s.headers["x-bellhop-delivery"] for s in api.seen}) == 1
    assert len(api.seen) == 2


def test_webhook_out_fits_a_hook_of_ours(hotel, make):
    there = hotel({"in.lua": """
return { queue = "in", hook = { secret = "key", header = "X-Bellhop-Signature",
  payload = "{timestamp}.{body}", delivery = "X-Bellhop-Delivery",
  timestamp = { header = "X-Bellhop-Timestamp" } } }
"""}, secrets={"key": "shared"}, http=True)
    here = hotel(["webhook-out.lua"], {"webhook_out": {"there": {
        "url": "http://127.0.0.1:%d/hooks/in" % there.http_port,
        "secret": "key"}}}, {"key": "shared"})
    c = here.client()
    assert result(c.completed(notify(c, "there", 7))) == {"status": 202}
    job = there.client().fetch1("in")
    assert json.loads(job["payload"])["data"] == {"n": 7}


def test_webhook_out_410_ends_and_429_waits(hotel, api):
    d = hotel(["webhook-out.lua"], endpoints(api, "gone", "busy"),
              {"key": "shared"})
    c = d.client()
    busy = [(429, {}, {"Retry-After": "1"}), (200, {})]
    api.answers(lambda s: (410, {}) if s.path == "/gone" else busy.pop(0))
    assert "410" in c.failed(notify(c, "gone"))["error"]
    c.completed(notify(c, "busy"))
    gone, first, second = api.seen
    assert gone.path == "/gone" and second.at - first.at >= 0.99


def test_webhook_out_the_breaker_opens_and_closes(hotel, api):
    d = hotel({"webhook-out.lua": shipped(
        "webhook-out.lua", ('"30s"\n', '"1s"\n'))},
        endpoints(api, "pms", "door"), {"key": "shared"})
    c = d.client()
    down = threading.Event()
    down.set()
    api.answers(lambda s: (500 if s.path == "/pms" and down.is_set()
                           else 200, {}))
    # One after the other, in a group, until the circuit is open.
    first = notify(c, "pms", 1, GROUP="g", ATTEMPTS=30, **SOON)
    wait_until(lambda: "circuit opens" in d.err_text(), "the open circuit")
    assert len(at_path(api, "/pms")) == 5
    # Nothing is sent but one probe in a second, whoever wants to.
    ids = [notify(c, "pms", n, **SOON) for n in range(10)]
    wait_until(lambda: len(at_path(api, "/pms")) >= 7, "two probes")
    at = [s.at for s in at_path(api, "/pms")]
    assert at[6] - at[4] >= 1.9
    # Another endpoint goes on.
    c.completed(notify(c, "door"))
    down.clear()
    for id in ids + [first]:
        c.completed(id)
    wait_until(lambda: "circuit closes" in d.err_text(), "the closed circuit")


# n8n.

def test_n8n_keeps_the_answer_and_asks_once(hotel, api):
    d = hotel(["n8n.lua"], {"n8n": {"url": api.url}}, {"n8n": "key"})
    c = d.client()
    api.in_turn((404, {}), (200, {"text": "Welcome"}))
    job = c.completed(c.add("n8n", json.dumps(
        {"workflow": "check-in", "data": {"guest": "Ana"}, "then": "next"}),
        GROUP="g", **SOON))
    assert result(job) == {"text": "Welcome"}
    assert [s.path for s in api.seen] == ["/check-in", "/check-in"]
    assert api.seen[1].json == {"guest": "Ana"}
    assert api.seen[1].headers["authorization"] == "Bearer key"
    assert len({s.headers["idempotency-key"] for s in api.seen}) == 1
    after = c.fetch1("next")
    assert json.loads(after["payload"]) == {"text": "Welcome"}
    assert after["group"] == "g"


def test_n8n_does_not_run_twice_for_what_comes_after(hotel, api):
    d = hotel(["n8n.lua"], {"n8n": {"url": api.url}}, {"n8n": "key"})
    c = d.client()
    api.in_turn((200, {"n": 1}))
    # The answer cannot go on: there is no queue of this name.
    job = c.failed(c.add("n8n", json.dumps(
        {"workflow": "w", "then": "no such queue"}), ATTEMPTS=3, **SOON))
    assert job["attempt"] == 3
    assert len(api.seen) == 1


# One job makes others.

def test_fanout_adds_all_or_none(hotel):
    d = hotel(["fanout.lua"])
    c = d.client()

    def order(*queues):
        return c.add("orders", json.dumps({
            "order": 4711, "guest": "g", "steps": [
                {"queue": q, "data": {"n": n}}
                for n, q in enumerate(queues)]}), ATTEMPTS=1)
    assert "queue" in c.failed(order("kitchen", "no such queue"))["error"]
    assert c.stats("kitchen")["waiting"] == 0
    for _ in range(2):
        added = result(c.completed(order("kitchen", "billing")))["added"]
        assert len(added) == 2
    assert c.stats("kitchen")["waiting"] == c.stats("billing")["waiting"] == 1
    assert c.get(added[0])["group"] == "g"


# By the clock.

def test_nightly_report_is_mailed(hotel, mailer):
    d = hotel(["nightly-report.lua", "email.lua", "hello.lua"],
              {"report": {"to": "owner@hotel.example", "every": "1s",
                          "queues": ["hello", "other"]}},
              options={"mail_server": mailer.url(),
                       "mail_from": "desk@hotel.example"})
    c = d.client()
    for _ in range(3):
        c.completed(c.add("hello", "{}"))
    wait_until(lambda: len(mailer.mails) >= 2, "two reports")
    mails = [email.message_from_bytes(m["data"], policy=email.policy.default)
             for m in mailer.mails]
    done = 0
    for m in mails:
        assert m["To"] == "owner@hotel.example"
        assert m["Subject"] == "Bellhop: all went well"
        text = m.get_body(("plain",)).get_content()
        line, = [x for x in text.splitlines() if x.startswith("hello ")]
        done += int(line.split()[1])
    assert done == 3


def test_nightly_report_at_six_in_lisbon(hotel):
    d = hotel(["nightly-report.lua"], {"report": {
        "to": "owner@hotel.example", "queues": ["x"],
        "tz": "Europe/Lisbon"}})
    s, = d.ctl_json("schedule", "list")
    assert (s["name"], s["cron"], s["tz"]) == (
        "nightly-report", "0 6 * * *", "Europe/Lisbon")


# conversations.lua

def guest_says(bh, n, conversation=42):
    body = json.dumps({"conversation": conversation, "id": "m%d" % n,
                       "from": "ana", "text": "text %d" % n}).encode()
    with Web(bh) as w:
        return w.post("/hooks/conversations", body, headers={
            "X-Signature": hmac.new(b"shared", body, "sha256").hexdigest()})


def conversations(hotel, api):
    return hotel(["conversations.lua"],
                 {"conversations": {"answer_url": api.url + "/answer"}},
                 {"conversations-hook": "shared"}, http=True)


def test_conversations_are_answered_and_kept(hotel, api):
    api.answers(lambda seen: (200, {
        "reply": "%d heard" % len(seen.json["messages"])}))
    d = conversations(hotel, api)
    c = d.client()
    ids = [guest_says(d, n).json["id"] for n in range(1, 6)]
    assert guest_says(d, 3).json["duplicate"] is True
    for id in ids:
        assert result(c.completed(id)) == {"messages": 5}
    asked, = api.seen
    assert [m["text"] for m in asked.json["messages"]] == [
        "text %d" % n for n in range(1, 6)]
    kept = [dict(zip(f[::2], f[1::2])) for _, f in
            c.call("XRANGE", "conversation:42", "-", "+")]
    assert [k["text"] for k in kept] == \
        ["text %d" % n for n in range(1, 6)] + ["5 heard"]
    assert c.call("XPENDING", "conversation:42", "answers")[0] == 0


def test_conversations_survive_a_crash_before_the_answer(hotel, api):
    arrived, go = threading.Event(), threading.Event()

    def answer(_seen):
        arrived.set()
        go.wait(60)
        return 200, {}
    api.answers(answer)
    d = conversations(hotel, api)
    guest_says(d, 1)
    assert arrived.wait(60)
    assert d.client().call("XPENDING", "conversation:42", "answers")[0] == 1
    d.kill9()
    go.set()
    d.start()
    c = d.client()
    last = guest_says(d, 2).json["id"]
    c.completed(last)
    wait_until(lambda: c.call("XPENDING", "conversation:42",
                              "answers")[0] == 0, "all is acknowledged")
    assert [f[f.index("text") + 1] for _, f in c.call(
        "XRANGE", "conversation:42", "-", "+")] == ["text 1", "text 2"]
    texts = [m["text"] for s in api.seen for m in s.json["messages"]]
    assert texts.count("text 1") >= 2 and "text 2" in texts
