# SPDX-License-Identifier: MIT
"""http.* in Lua handlers, against servers that behave well and badly."""
import email.utils
import json
import shutil
import tempfile
import time

import pytest

from daemon import free_port, wait_until
from httpfake import Fake, certificates
from lua import run, script

SCRIPTS = {
    # Whatever the job says, and what came of it.
    "ask.lua": script("ask", """
    local d = job.data
    d.request.raise = d.raise
    local ok, res, why = pcall(http.request, d.request)
    if not ok then return { error = res } end
    if not res then return { failure = why } end
    return { status = res.status, headers = res.headers, body = res.body,
             json = res.json, url = res.url, elapsed = res.elapsed,
             retry_after = res.retry_after }
""", "concurrency = 100, timeout = '50s',"),
    "get.lua": script("get", "local r = http.get(job.data) "
                      "return { status = r.status, size = #r.body }",
                      "concurrency = 64, attempts = 1,"),
    "short.lua": script("short", "return http.get(job.data).status",
                        "timeout = '300ms', attempts = 1,"),
    "limited.lua": script(
        "limited", "local r = http.get(job.data) "
        "if r.status == 429 then return job:retry(r.retry_after, 'slow') end "
        "return r.status"),
    "shorthand.lua": script("shorthand", """
    local u, t = job.data, {}
    for _, m in ipairs({ 'get', 'post', 'put', 'patch', 'delete' }) do
      t[m] = http[m](u).json.method
    end
    t.head = http.head(u).status .. ' ' .. #http.head(u).body
    return t
"""),
    "args.lua": script("args", """
    local u, t = job.data, {}
    local function try(...)
      local ok, e = pcall(...)
      t[#t + 1] = ok and 'no error' or e
    end
    try(http.get)
    try(http.get, u, 'x')
    try(http.get, u, { jsn = {} })
    try(http.post, u, { json = {}, body = '' })
    try(http.get, u, { headers = { ['X-A'] = 'a\\r\\nX-B: b' } })
    try(http.get, u, { headers = { ['X A'] = 'a' } })
    try(http.get, u, { headers = { ['Content-Length'] = '7' } })
    try(http.get, u, { headers = { ['X-A'] = setmetatable({},
        { __len = function() return math.maxinteger end,
          __index = tostring }) } })
    try(http.get, u .. '\\r\\nX: y')
    try(http.get, u, { timeout = 'soon' })
    try(http.get, u, { max_size = 0 })
    try(http.request, { url = u, method = 'G ET' })
    return t
"""),
}


@pytest.fixture(scope="module")
def web():
    fake = Fake()
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def other():
    fake = Fake()
    yield fake
    fake.close()


def ask(c, quiet=False, **request):
    """What a request came to."""
    return run(c, "ask", json.dumps({"request": request,
                                     "raise": not quiet}))


def test_the_answer_has_all_its_parts(c, web):
    r = ask(c, url=web.url("/echo"))
    assert r["status"] == 200
    assert r["url"] == web.url("/echo")
    assert r["json"]["method"] == "GET"
    assert json.loads(r["body"]) == r["json"]
    assert r["headers"]["content-type"] == "application/json"
    assert r["headers"]["set-cookie"] == ["a=1", "b=2"]
    assert r["headers"]["x-two"] == "one, two"
    assert 0 < r["elapsed"] < 50
    assert r["json"]["headers"]["user-agent"].startswith("bellhop/")


def test_each_method_has_its_function(c, web):
    assert run(c, "shorthand", json.dumps(web.url("/echo"))) == {
        "get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH",
        "delete": "DELETE", "head": "200 0"}


def test_json_body_is_encoded_and_named(c, web):
    r = ask(c, url=web.url("/echo"), method="POST",
            json={"olá": [1, 2], "n": 5000000000})["json"]
    assert json.loads(r["body"].encode("latin-1")) == {
        "olá": [1, 2], "n": 5000000000}
    assert r["headers"]["content-type"] == "application/json"


def test_form_and_query_are_encoded_in_order(c, web):
    r = ask(c, url=web.url("/echo?first=1"), method="PUT",
            form={"z": "a b&c", "a": "ü"}, query={"y": [1, 2], "b": True})
    assert r["json"]["path"] == "/echo?first=1&b=true&y=1&y=2"
    assert r["json"]["body"] == "a=%C3%BC&z=a%20b%26c"
    assert r["json"]["headers"]["content-type"] == \
        "application/x-www-form-urlencoded"
    assert r["json"]["method"] == "PUT"


def test_headers_and_raw_body(c, web):
    r = ask(c, url=web.url("/echo"), method="POST", body="plain\0x",
            headers={"X-A": "1", "X-List": ["a", "b"], "X-Empty": ""})
    h = r["json"]["headers"]
    assert r["json"]["body"] == "plain\0x"
    assert h["x-a"] == "1" and h["x-empty"] == "" and "content-type" not in h


def test_json_is_nil_unless_it_is_json(c, web):
    assert "json" not in ask(c, url=web.url("/text"))
    r = ask(c, url=web.url("/badjson"))
    assert r["body"] == '{"a":' and "json" not in r


def test_an_error_status_is_an_answer(c, web):
    r = ask(c, url=web.url("/status/500"))
    assert (r["status"], r["body"]) == (500, "said 500")
    assert "retry_after" not in r


def test_retry_after_is_in_seconds(c, web):
    assert ask(c, url=web.url("/status/429/17"))["retry_after"] == 17
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    r = ask(c, url=web.url("/status/429/" + soon.replace(" ", "%20")))
    assert 90 <= r["retry_after"] <= 101
    past = email.utils.formatdate(0, usegmt=True).replace(" ", "%20")
    assert ask(c, url=web.url("/status/503/" + past))["retry_after"] == 0
    assert "retry_after" not in ask(c, url=web.url("/status/429/later"))


def test_a_429_delays_the_job_as_it_says(bh, c, web):
    job = c.add("limited", json.dumps(web.url("/status/429/900")))
    wait_until(lambda: c.get(job)["state"] == "delayed", "the retry")
    j = c.get(job)
    assert 890000 < j["run_at"] - time.time() * 1000 \
        < 903000


def test_bad_arguments_name_the_option(c, web):
    said = run(c, "args", json.dumps(web.url("/never")))
    wanted = ["the URL must be a string", "the options must be a table",
              "unknown option 'jsn'", "exclude each other",
              "header 'X-A' has a line break", "'X A' is no name",
              "'Content-Length' cannot be set", "more than 256 values",
              "control character",
              "timeout: expected a duration", "'max_size' expects",
              "'method' must be"]
    assert len(said) == len(wanted)
    for text, want in zip(said, wanted):
        assert want in text
    assert not web.seen_at("/never")


# Redirects.

def test_redirects_are_followed_as_the_method_allows(c, web):
    for code, method in ((301, "GET"), (302, "GET"), (303, "GET"),
                         (307, "POST"), (308, "POST")):
        r = ask(c, url=web.url("/redirect/%d" % code), method="POST",
                json={"a": 1})
        assert r["url"] == web.url("/echo/target")
        assert r["json"]["method"] == method
        assert r["json"]["body"] == ('{"a":1}' if method == "POST" else "")
        assert ("content-type" in r["json"]["headers"]) == (method == "POST")


def test_redirects_can_be_left_and_end_some_day(c, web):
    r = ask(c, url=web.url("/redirect/302"), redirects=0)
    assert r["status"] == 302 and r["headers"]["location"] == "/echo/target"
    r = ask(c, url=web.url("/loop"))
    assert "more than 5 redirects" in r["error"]


def test_credentials_stay_with_their_host(c, web, other):
    secret = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k",
              "X-Other": "o"}
    to = other.url("/echo/abroad")
    r = ask(c, url=web.url("/redirect/307/" + to), headers=secret)
    h = r["json"]["headers"]
    assert h["x-other"] == "o"
    assert not {"authorization", "cookie", "x-api-key"} & set(h)
    h = ask(c, url=web.url("/redirect/307"), headers=secret)["json"]["headers"]
    assert h["authorization"] == "Bearer x"


@pytest.mark.parametrize("to,why", [
    ("ftp://127.0.0.1/x", "scheme 'ftp' is refused"),
    ("file:///etc/passwd", "scheme 'file' is refused"),
    ("http://169.254.169.254/latest/", "link-local"),
    ("http://[::ffff:169.254.169.254]/", "link-local"),
    ("http://0xa9fea9fe/", "link-local"),
    ("http://[fd00:ec2::254]/", "metadata"),
])
def test_redirects_are_judged_as_requests_are(c, web, to, why):
    e = ask(c, url=web.url("/redirect/302/" + to))["error"]
    assert "redirect: " in e and why in e


# Refusals.

@pytest.mark.parametrize("url,why", [
    ("ftp://127.0.0.1/", "scheme 'ftp' is refused: only http and https"),
    ("file:///etc/passwd", "scheme 'file' is refused"),
    ("unix:///tmp/x", "scheme 'unix' is refused"),
    ("127.0.0.1/x", "must begin with http:// or https://"),
    ("http://", "not valid"),
    ("http://169.254.1.2/", "169.254.1.2 is a link-local address: refused"),
    ("http://2852039166/", "link-local"),
    ("http://[fe80::1]/", "link-local"),
    ("http://[::ffff:a9fe:a9fe]/", "link-local"),
    ("http://[64:ff9b::a9fe:a9fe]/", "link-local"),
    ("http://100.100.100.200/", "metadata service"),
    ("http://224.0.0.1/", "multicast"),
    ("http://bücher.example/", "xn--"),
])
def test_where_no_script_may_go(c, url, why):
    assert why in ask(c, url=url)["error"]


def test_the_environment_names_no_proxy(make):
    d = make(scripts={"ask.lua": SCRIPTS["ask.lua"]},
             env={"http_proxy": "http://127.0.0.1:1",
                  "ALL_PROXY": "http://127.0.0.1:1"})
    with d.client() as c:
        fake = Fake()
        try:
            r = ask(c, url=fake.url("/echo", "localhost"))
            assert r["status"] == 200
        finally:
            fake.close()


def test_allow_hosts_is_a_list_of_patterns(make, web):
    d = make({"allow_hosts": ["*.example.org", "LOCALHOST"]},
             scripts={"ask.lua": SCRIPTS["ask.lua"]})
    with d.client() as c:
        assert ask(c, url=web.url("/echo", "localhost"))["status"] == 200
        assert "host '127.0.0.1' is not in allow_hosts" in \
            ask(c, url=web.url("/echo"))["error"]
        e = ask(c, url=web.url("/redirect/302/" + web.url("/echo/no"),
                               "localhost"))["error"]
        assert "redirect: host '127.0.0.1' is not in allow_hosts" in e
    assert not web.seen_at("/echo/no")


# Trouble on the way.

def test_transport_errors_name_host_and_cause(c, web):
    e = ask(c, url="https://nosuchhost.invalid/a?token=hush")["error"]
    assert "http.get https://nosuchhost.invalid/a: could not resolve host " \
        "'nosuchhost.invalid'" in e
    assert "hush" not in e and "ask.lua:" not in e.split("http.get")[1]
    port = free_port()
    e = ask(c, url="http://u:pw@127.0.0.1:%d/" % port)["error"]
    assert "could not connect: Connection refused" in e and "pw" not in e
    e = ask(c, url=web.url("/reset"), method="POST")["error"]
    assert "http.post " + web.url("/reset") + ": " in e


def test_raise_false_answers_with_nil_and_the_message(c):
    r = ask(c, quiet=True, url="http://127.0.0.1:%d/" % free_port())
    assert "Connection refused" in r["failure"]


def test_timeouts_of_the_request_and_of_the_run(c, web):
    for path in ("/hold", "/drip"):
        e = ask(c, url=web.url(path), timeout="200ms")["error"]
        assert "timeout: " in e
    gone = web.gone
    job = c.add("short", json.dumps(web.url("/hold")))
    failed = c.failed(job)
    assert failed["error"] == "timeout after 300 ms"
    wait_until(lambda: web.gone > gone, "the transfer's end")


def test_max_size_holds_for_chunked_answers_too(c, web):
    e = ask(c, url=web.url("/big/64"), max_size="1MiB")["error"]
    assert "the answer is larger than max_size (1048576 bytes)" in e
    job = c.completed(c.add("get", json.dumps(web.url("/big/20"))))
    assert json.loads(job["result"])["size"] == 20 * 65536
    e = c.failed(c.add("get", json.dumps(web.url("/big/200"))))["error"]
    assert "larger than max_size (10485760" in e


def test_cancel_ends_the_transfer(c, web):
    held, gone = web.held, web.gone
    job = c.add("ask", json.dumps({"request": {"url": web.url("/hold")}}))
    wait_until(lambda: web.held > held, "the request")
    c.call("JOB.CANCEL", job, "enough")
    assert c.failed(job)["error"] == "cancelled: enough"
    wait_until(lambda: web.gone > gone, "the transfer's end")


def test_connections_are_kept_and_used_again(make):
    fake = Fake()
    d = make({"script_threads": 1}, scripts={"get.lua": SCRIPTS["get.lua"]})
    try:
        with d.client() as c:
            for _ in range(20):
                run(c, "get", json.dumps(fake.url("/echo")))
            assert fake.connections == 1
            jobs = [c.add("get", json.dumps(fake.url("/echo")))
                    for _ in range(200)]
            for job in jobs:
                c.completed(job)
        assert len(fake.seen) == 220 and fake.connections <= 64
    finally:
        fake.close()


def test_a_stopping_daemon_gives_waiting_handlers_back(make):
    fake = Fake()
    d = make({"shutdown_grace": "200ms"},
             scripts={"get.lua": SCRIPTS["get.lua"]})
    try:
        with d.client() as c:
            job = c.add("get", json.dumps(fake.url("/hold")))
            wait_until(lambda: fake.held, "the request")
        d.stop()
        d.start()
        with d.client() as c:
            wait_until(lambda: fake.held == 2, "the second try")
            assert c.get(job)["attempt"] == 1
    finally:
        d.stop()
        fake.close()


# TLS.

@pytest.fixture(scope="module")
def tls():
    directory = tempfile.mkdtemp(prefix="bh-tls-")
    ca, context = certificates(directory)
    fake = Fake(context)
    fake.ca = ca
    yield fake
    fake.close()
    shutil.rmtree(directory)


def test_a_certificate_is_always_checked(c, tls):
    e = ask(c, url=tls.url("/echo", "localhost"))["error"]
    assert "certificate" in e
    assert not tls.seen


def test_an_authority_of_ones_own(make, tls):
    d = make({"http_ca_file": tls.ca}, scripts={"ask.lua":
                                                SCRIPTS["ask.lua"]})
    with d.client() as c:
        r = ask(c, url=tls.url("/echo", "localhost"))
        assert r["status"] == 200
        # The certificate is for the name alone.
        e = ask(c, url=tls.url("/echo"))["error"]
        assert "certificate" in e


def test_the_proxy_is_the_configurations_alone(make, web):
    d = make({"http_proxy": "http://127.0.0.1:%d" % web.port},
             scripts={"ask.lua": SCRIPTS["ask.lua"]},
             env={"http_proxy": "http://127.0.0.1:1"})
    with d.client() as c:
        r = ask(c, url="http://far.example/echo/far")
        assert r["status"] == 404
        assert web.seen_at("http://far.example/echo/far")
        assert ask(c, url=web.url("/echo/near"))["status"] == 200
        assert web.seen_at("/echo/near")


def test_the_client_is_loaded_at_its_first_use(make, web):
    d = make(scripts={"get.lua": SCRIPTS["get.lua"]})

    def loaded():
        with open("/proc/%d/maps" % d.proc.pid, encoding="ascii") as f:
            return "libcurl" in f.read()

    with d.client() as c:
        assert not loaded()
        run(c, "get", json.dumps(web.url("/echo")))
        assert loaded()
