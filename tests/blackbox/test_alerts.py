# SPDX-License-Identifier: MIT
"""Built-in alerts: told when they begin and when they are over, once each."""
import contextlib
import hashlib
import hmac
import json
import os

import pytest

from daemon import wait_until
from httpfake import Fake as HttpFake
from lua import script
from resp import RespError
from smtpfake import Fake as MailFake

# Disk and memory are this machine's business, not the tests'.
CONFIG = """alerts = { interval = "1s"; disk = 0; memory = 0; queue_depth = 2;
%s };"""


@pytest.fixture
def guard(make):
    """A daemon with alerts; what is said of it stands in `alerts`."""
    def maker(more="", scripts=None, options=None, secrets=None):
        d = make(options, config=CONFIG % more, scripts=scripts, start=False)
        for name, text in (secrets or {}).items():
            with open(os.path.join(d.secrets, name), "w",
                      encoding="utf-8") as f:
                f.write(text)
        return d.start()
    return maker


def rules(c):
    return [a["alert"] for a in c.call("BELLHOP", "ALERTS")]


def fill(c, queue, n=3):
    for _ in range(n):
        c.call("JOB.ADD", queue, "x")


def told(c, queue):
    """What came into the queue of the alerts, in its order."""
    jobs = c.call("JOB.LIST", queue, "waiting")[1]
    return [(a["alert"], a["state"], a.get("queue"))
            for a in (json.loads(j["payload"]) for j in jobs)]


def test_begin_and_end_are_jobs_and_lines_of_the_log(guard):
    d = guard('queue = "told";')
    with d.client() as c:
        fill(c, "mail", 2)
        fill(c, "post")
        wait_until(lambda: rules(c) == ["queue_depth"])
        (a,) = c.call("BELLHOP", "ALERTS")
        assert a["queue"] == "post"
        assert a["text"] == "3 jobs wait in queue post"
        assert (a["value"], a["limit"]) == (3, 2)
        assert c.call("BELLHOP", "STATUS")["alerts"] == [a["text"]]
        assert d.ctl_ok("status").startswith("1 alert: 3 jobs wait")
        assert d.ctl_json("status")["alerts"] == [a["text"]]
        assert 'bellhop_alert{queue="post",rule="queue_depth"} 1' in \
            c.call("BELLHOP", "METRICS")
        fill(c, "post")
        c.call("QUEUE.PURGE", "post", "waiting")
        wait_until(lambda: rules(c) == [])
        wait_until(lambda: len(told(c, "told")) == 2)
        assert told(c, "told") == [("queue_depth", "firing", "post"),
                                   ("queue_depth", "resolved", "post")]
    log = d.err_text()
    assert log.count("alert queue_depth: 3 jobs wait in queue post") == 1
    assert log.count("alert queue_depth is over") == 1


def test_webhook_gets_both_signed_and_in_order(guard):
    with contextlib.closing(HttpFake()) as web:
        d = guard('webhook = "%s";' % web.url("/status/200"),
                  secrets={"alerts_webhook": "hush\n"})
        with d.client() as c:
            fill(c, "post")
            wait_until(lambda: len(web.seen) == 1)
            c.call("QUEUE.PURGE", "post", "waiting")
            wait_until(lambda: len(web.seen) == 2)
            wait_until(lambda: c.call(
                "QUEUE.STATS", "bellhop.alerts")["completed"] == 2)
        bodies = [json.loads(s["body"]) for s in web.seen]
        assert [(b["alert"], b["state"], b["queue"]) for b in bodies] == [
            ("queue_depth", "firing", "post"),
            ("queue_depth", "resolved", "post")]
        for s in web.seen:
            mac = hmac.new(b"hush", s["body"].encode(), hashlib.sha256)
            assert s["headers"]["x-bellhop-signature"] == \
                "sha256=" + mac.hexdigest()
            assert s["headers"]["content-type"] == "application/json"


def test_webhook_that_is_away_is_tried_again(guard):
    with contextlib.closing(HttpFake()) as web:
        d = guard('webhook = "%s";' % web.url("/status/503"))
        with d.client() as c:
            fill(c, "post")
            wait_until(lambda: len(web.seen) == 1)
            wait_until(lambda: c.call(
                "QUEUE.STATS", "bellhop.alerts")["delayed"] == 1)
            # A failed try of the way out is no alert of its own.
            assert "new_error" not in rules(c)


def test_mail(guard):
    fake = MailFake()
    try:
        d = guard('mail = "ops@hotel.example";', options={
            "mail_server": fake.url("127.0.0.1", "smtp"),
            "mail_from": "Bellhop <bell@hotel.example>"})
        with d.client() as c:
            fill(c, "post")
            wait_until(lambda: fake.mails)
        (mail,) = fake.mails
        assert mail["rcpt"] == ["ops@hotel.example"]
        assert b"3 jobs wait in queue post" in mail["data"]
    finally:
        fake.close()


def test_failed_tries_and_their_new_error(guard):
    d = guard('queue = "told";', scripts={"bad.lua": script(
        "bad", "error('the printer burns')", "attempts = 1,")})
    with d.client() as c:
        for _ in range(25):
            c.call("JOB.ADD", "bad", "x")
        wait_until(lambda: sorted(set(rules(c)) - {"queue_depth"}) ==
                   ["failed_rate", "new_error"])
        text = [a["text"] for a in c.call("BELLHOP", "ALERTS")
                if a["alert"] == "new_error"]
        assert len(text) == 1 and "the printer burns" in text[0]
        wait_until(lambda: ("new_error", "firing", "bad")
                   in told(c, "told"))
        assert told(c, "told").count(("new_error", "firing", "bad")) == 1
        d.restart()
    # What failed before the start is no news.
    with d.client() as c:
        fill(c, "other", 3)
        wait_until(lambda: "queue_depth" in rules(c))
        assert "new_error" not in rules(c)


def test_reload_changes_limits_and_keeps_what_is_on(guard):
    d = guard('queue = "told";')
    with d.client() as c:
        fill(c, "post")
        wait_until(lambda: rules(c) == ["queue_depth"])
        since = c.call("BELLHOP", "ALERTS")[0]["since"]
        d.reload_ok()
        c.call("JOB.ADD", "other", "x")
        assert c.call("BELLHOP", "ALERTS")[0]["since"] == since
        d.write_config(config=CONFIG.replace("depth = 2", "depth = 50")
                       % 'queue = "told";')
        d.reload_ok()
        c.call("JOB.ADD", "other", "x")
        wait_until(lambda: rules(c) == [])
        wait_until(lambda: len(told(c, "told")) == 2)


def test_built_in_script_comes_and_goes_with_its_options(guard):
    d = guard()
    with d.client() as c:
        assert c.call("BELLHOP", "SCRIPTS") == []
        d.write_config(config=CONFIG % 'webhook = "http://127.0.0.1:1/";')
        d.reload_ok()
        (s,) = c.call("BELLHOP", "SCRIPTS")
        assert s["queue"] == "bellhop.alerts"
        d.write_config(config=CONFIG % "")
        d.reload_ok()
        assert c.call("BELLHOP", "SCRIPTS") == []


@pytest.mark.parametrize("line, wants", [
    ('queue = "no good"', "a queue's name"),
    ('webhook = "ftp://x"', "a URL http://"),
    ('mail = "nobody"', "a mail address"),
    ('disk = 101', "from 0 to 100"),
    ('interval = "10ms"', "from 1s to 1h"),
    ('depth = 5', "unknown option"),
])
def test_bad_options_are_refused(make, line, wants):
    d = make(config="alerts = { %s; };" % line, start=False)
    r = d.check_config()
    assert r.status == 1
    assert "alerts." in r.err and wants in r.err


def test_reader_may_look(guard):
    d = guard()
    with d.client() as c:
        token = c.call("BELLHOP", "TOKEN", "ADD", "eye", "reader")
        with d.client(tcp=True) as eye:
            eye.call("AUTH", token)
            assert eye.call("BELLHOP", "ALERTS") == []
            with pytest.raises(RespError):
                eye.call("BELLHOP", "RELOAD")


def test_a_token_sees_the_alerts_of_its_queues_only(guard):
    d = guard()
    with d.client() as c, d.client() as other:
        secret = c.call("BELLHOP", "TOKEN", "ADD", "eye", "reader", "mail*")
        assert other.call("AUTH", secret) == "OK"
        fill(c, "post")
        fill(c, "mail.in")
        c.call("SCHEDULE.SET", "nightly", "post", "x", "CRON", "0 3 * * *")
        wait_until(lambda: rules(c) == ["queue_depth", "queue_depth"])
        assert [a["queue"] for a in other.call("BELLHOP", "ALERTS")] == \
            ["mail.in"]
        assert other.call("BELLHOP", "STATUS")["alerts"] == \
            ["3 jobs wait in queue mail.in"]
        page = other.call("BELLHOP", "METRICS")
        assert 'bellhop_alert{queue="mail.in",rule="queue_depth"} 1' in page
        assert "post" not in page and "nightly" not in page
        assert "post" in c.call("BELLHOP", "METRICS")
