# SPDX-License-Identifier: MIT
"""mail.send in Lua handlers, against a server of the test's own."""
import email
import email.policy
import json
import os
import shutil
import tempfile

import pytest

from httpfake import certificates
from lua import run, script
from smtpfake import Fake

SCRIPTS = {
    "mail.lua": script("mail", """
    local ok, r = pcall(mail.send, job.data)
    return ok and { id = r } or { error = r }
"""),
    "once.lua": script("once", "return mail.send(job.data)", "attempts = 1,"),
}

MAIL = {"from": "Bellhop <bell@hotel.example>", "to": "ana@guest.example",
        "subject": "Welcome", "text": "Good morning\n"}


@pytest.fixture
def serve(make):
    """A daemon whose mail server is this fake."""
    fakes = []

    def server(options=None, fake=None, host="127.0.0.1", scheme="smtp",
               secrets=None):
        fake = fake or Fake()
        fakes.append(fake)
        opts = {"mail_server": fake.url(host, scheme)}
        opts.update(options or {})
        d = make(opts, scripts=SCRIPTS, start=False)
        for name, text in (secrets or {}).items():
            with open(os.path.join(d.secrets, name), "w",
                      encoding="utf-8") as f:
                f.write(text)
        d.start()
        return d, fake
    yield server
    for fake in fakes:
        fake.close()


@pytest.fixture(scope="module")
def tls():
    directory = tempfile.mkdtemp(prefix="bh-tls-")
    yield certificates(directory)
    shutil.rmtree(directory)


def parse(mail):
    return email.message_from_bytes(mail["data"],
                                    policy=email.policy.default)


def test_a_plain_mail_arrives(serve):
    d, fake = serve()
    with d.client() as c:
        r = run(c, "mail", json.dumps(dict(
            MAIL, text="Olá Ana\n.\n..dots\nand a long line " + "x" * 200)))
    mail, = fake.mails
    msg = parse(mail)
    assert mail["sender"] == "bell@hotel.example"
    assert mail["rcpt"] == ["ana@guest.example"]
    assert msg["Message-ID"] == "<%s>" % r["id"]
    assert r["id"].endswith("@hotel.example")
    assert msg["From"] == "Bellhop <bell@hotel.example>"
    assert msg["Subject"] == "Welcome"
    assert msg["Date"].datetime.year >= 2024
    assert msg["MIME-Version"] == "1.0"
    part = msg.get_body(("plain",))
    assert part.get_content().replace("\r\n", "\n").rstrip("\n") == \
        "Olá Ana\n.\n..dots\nand a long line " + "x" * 200
    assert max(map(len, mail["data"].split(b"\r\n"))) <= 998


def test_names_beyond_ascii_are_encoded(serve):
    d, fake = serve()
    subject = "Olá, o seu quarto está pronto — às 15 horas já pode entrar 🛎 " \
        * 3
    with d.client() as c:
        run(c, "mail", json.dumps(dict(
            MAIL, **{"from": "Recepção do Hotel <bell@hotel.example>"},
            to=["João Silva, Lda <joao@guest.example>",
                "\"Smith, J.\" <j@guest.example>"],
            cc="c@guest.example", bcc=["b@guest.example"],
            reply_to="r@hotel.example", subject=subject.strip(),
            headers={"X-Room": "nº 9"})))
    mail, = fake.mails
    msg = parse(mail)
    assert mail["data"].split(b"\r\n\r\n")[0].isascii()
    assert msg["Subject"] == subject.strip()
    assert msg["From"].addresses[0].display_name == "Recepção do Hotel"
    assert [a.display_name for a in msg["To"].addresses] == [
        "João Silva, Lda", "Smith, J."]
    assert msg["X-Room"] == "nº 9" and msg["Reply-To"] == "r@hotel.example"
    assert "Bcc" not in msg
    assert sorted(mail["rcpt"]) == [
        "b@guest.example", "c@guest.example", "j@guest.example",
        "joao@guest.example"]


def test_html_and_attachments(serve):
    d, fake = serve()
    with d.client() as c:
        run(c, "mail", json.dumps(dict(
            MAIL, html="<p>Good <b>morning</b></p>",
            attachments=[{"name": "conta nº 9.pdf",
                          "type": "application/pdf", "data": "%PDF\0\n.\n"},
                         {"name": "b.bin", "data": "x" * 5000}])))
        run(c, "mail", json.dumps(dict(MAIL, html="<p>both</p>")))
    msg = parse(fake.mails[0])
    assert msg.get_content_type() == "multipart/mixed"
    assert msg.get_body(("html",)).get_content().strip() == \
        "<p>Good <b>morning</b></p>"
    assert msg.get_body(("plain",)).get_content().strip() == "Good morning"
    one, two = msg.iter_attachments()
    assert one.get_content_type() == "application/pdf"
    assert one.get_content() == b"%PDF\0\n.\n"
    assert "filename*=UTF-8''conta%20n%C2%BA%209.pdf" in \
        fake.mails[0]["data"].decode()
    assert two.get_content() == b"x" * 5000
    assert two.get_content_type() == "application/octet-stream"
    assert parse(fake.mails[1]).get_content_type() == \
        "multipart/alternative"


@pytest.mark.parametrize("change,why", [
    ({"subject": "a\r\nBcc: x@y.example"}, "'subject' has a line break"),
    ({"to": "a@b.example\r\nX: y"}, "'to': 'a@b.example"),
    ({"to": "a@b.example, c@d.example"}, "is no address"),
    ({"to": "nobody"}, "is no address"),
    ({"to": "Ana <>"}, "is no address"),
    ({"to": []}, "field 'to' is missing"),
    ({"from": "x\n <a@b.example>"}, "is no address"),
    ({"headers": {"X-A": "1\nX-B: 2"}}, "'X-A' has a line break"),
    ({"headers": {"X: y": "1"}}, "no name for a header"),
    ({"headers": {"Bcc": "1"}}, "a field of its own"),
    ({"headers": {"Content-Type": "1"}}, "follows from"),
    ({"attachments": [{"name": "a\nb", "data": ""}]}, "line break"),
    ({"attachments": [{"name": "a", "type": "x\r\ny", "data": ""}]},
     "line break"),
    ({"attachments": [{"name": "a"}]}, "an attachment has no 'data'"),
    ({"text": None}, "'text' or 'html' is missing"),
    ({"body": "x"}, "unknown field 'body'"),
])
def test_what_is_no_mail_is_refused(bh, c, change, why):
    mail = {k: v for k, v in dict(MAIL, **change).items() if v is not None}
    assert why in run(c, "mail", json.dumps(mail))["error"]


OPTIONS = {"mail_server": "smtp://127.0.0.1:1"}


def test_a_server_that_is_away_is_an_error_to_retry(c):
    e = run(c, "mail", json.dumps(MAIL))["error"]
    assert "could not connect: Connection refused" in e
    assert "permanent" not in e


def test_answers_of_the_server_decide(serve):
    d, fake = serve(fake=Fake(refuse={
        "RCPT": "full@:452 mailbox is full", "MAIL": "bad@:550 no such one"}))
    with d.client() as c:
        e = run(c, "mail", json.dumps(dict(MAIL, to="full@x.example")))
        assert "127.0.0.1 answered: 452 mailbox is full" in e["error"]
        assert "permanent" not in e["error"]
        e = run(c, "mail", json.dumps(dict(MAIL, **{
            "from": "bad@x.example"})))
        assert "permanent: 127.0.0.1 answered: 550 no such one" in e["error"]
        job = c.failed(c.add("once", json.dumps(dict(
            MAIL, to="full@x.example"))))
        assert "once.lua:" in job["error"]
        # The next one is none the worse for it.
        assert run(c, "mail", json.dumps(MAIL))["id"]
    assert len(fake.mails) == 1


def test_the_server_and_the_sender_come_from_the_configuration(make, serve):
    d = make(scripts=SCRIPTS)
    with d.client() as c:
        assert "option 'mail_server' is not set" in \
            run(c, "mail", json.dumps(MAIL))["error"]
        mail = {k: v for k, v in MAIL.items() if k != "from"}
        assert "'mail_from' is not set" in \
            run(c, "mail", json.dumps(mail))["error"]
    d, fake = serve({"mail_from": "Desk <desk@hotel.example>"})
    with d.client() as c:
        run(c, "mail", json.dumps(mail))
    assert fake.mails[0]["sender"] == "desk@hotel.example"


def test_login_over_starttls(serve, tls):
    ca, context = tls
    d, fake = serve({"http_ca_file": ca, "mail_tls": "required",
                     "mail_user": "bell", "mail_password": "smtp"},
                    Fake(context), "localhost", secrets={"smtp": "s3cret\n"})
    with d.client() as c:
        run(c, "mail", json.dumps(MAIL))
    mail, = fake.mails
    assert mail["secure"] and mail["login"] == [b"bell", b"s3cret"]


def test_tls_from_the_first_byte(serve, tls):
    ca, context = tls
    d, fake = serve({"http_ca_file": ca}, Fake(context, implicit=True),
                    "localhost", "smtps")
    with d.client() as c:
        run(c, "mail", json.dumps(MAIL))
    assert fake.mails[0]["secure"]


def test_an_unknown_certificate_is_refused(serve, tls):
    d, fake = serve({"mail_tls": "required"}, Fake(tls[1]), "localhost")
    with d.client() as c:
        assert "certificate" in run(c, "mail", json.dumps(MAIL))["error"]
    assert not fake.mails


def test_required_tls_that_is_not_offered(serve):
    d, fake = serve({"mail_tls": "required"})
    with d.client() as c:
        assert "offers no TLS" in run(c, "mail", json.dumps(MAIL))["error"]
    assert not fake.mails
    d, fake = serve({"mail_tls": "opportunistic"})
    with d.client() as c:
        run(c, "mail", json.dumps(MAIL))
    assert not fake.mails[0]["secure"]


def test_a_wrong_password_is_permanent(serve):
    d, fake = serve({"mail_user": "bell"}, Fake(
        plain_auth=True, refuse={"AUTH": "535 wrong"}),
        secrets={"mail_password": "x"})
    with d.client() as c:
        e = run(c, "mail", json.dumps(MAIL))["error"]
    assert "permanent" in e and "535 wrong" in e
    assert not fake.mails
