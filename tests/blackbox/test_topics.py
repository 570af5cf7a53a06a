# SPDX-License-Identifier: MIT
"""PUBLISH and topic.publish reach the scripts that subscribe."""
import json

from daemon import wait_until
from lua import run, script

SCRIPTS = {
    "hear.lua": """
return {
  queue = "hear",
  perform = function() end,
  subscribe = {
    ["guest.*"] = function(msg, topic)
      redis("APPEND", "heard:" .. topic, json.encode(msg) .. "\\n")
    end,
  },
}
""",
    "say.lua": script("say", """
      return topic.publish(job.data.topic, job.data.value)
    """),
}


def heard(c, topic, n):
    """The first n messages of a topic, as the script got them."""
    key = "heard:" + topic
    wait_until(lambda: (c.call("GET", key) or "").count("\n") >= n,
               "%d messages" % n)
    return [json.loads(x) for x in c.call("GET", key).splitlines()]


def test_published_messages_reach_scripts(c):
    assert c.call("PUBLISH", "guest.1", '{"a": [1, 2]}') == 1
    assert c.call("PUBLISH", "guest.1", "plain") == 1
    assert c.call("PUBLISH", "room.1", "nobody") == 0
    assert heard(c, "guest.1", 2) == [{"a": [1, 2]}, "plain"]


def test_scripts_publish_tables_as_json(c):
    assert run(c, "say", json.dumps(
        {"topic": "guest.2", "value": {"x": 1}})) == 1
    assert run(c, "say", json.dumps(
        {"topic": "guest.2", "value": "text"})) == 1
    assert heard(c, "guest.2", 2) == [{"x": 1}, "text"]


def test_bellhopctl_publishes(bh, c):
    assert bh.ctl_ok("publish", "guest.3", '{"from": "shell"}') == \
        "1 received it\n"
    assert bh.ctl_json("publish", "guest.3", "2") == {"receivers": 1}
    assert heard(c, "guest.3", 2) == [{"from": "shell"}, 2]
    assert bh.ctl("publish", "guest.3").status == 2
