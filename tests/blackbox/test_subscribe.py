# SPDX-License-Identifier: MIT
"""Scripts that listen to topics."""
import json

from daemon import wait_until

SCRIPTS = {
    # What was heard, in its order: a job for each message.
    "ear.lua": """
return {
  subscribe = {
    ["guest.*"] = function(msg, topic)
      queue.add("heard", { topic = topic, msg = msg, kind = type(msg) })
    end,
    alarm = function(msg)
      if msg == "boom" then error("an alarm at " .. config.place) end
      queue.add("alarms", { msg = msg })
    end,
  },
}
""",
    # Slow: its messages are handled one at a time all the same.
    "slow.lua": """
local busy = 0
return {
  subscribe = { ["slow.*"] = function(msg)
    busy = busy + 1
    sleep("10ms")
    queue.add("slow", { n = msg, busy = busy })
    busy = busy - 1
  end },
}
""".replace("local busy = 0", "local state = { busy = 0 }")
    .replace("busy = busy + 1", "state.busy = state.busy + 1")
    .replace("busy = busy }", "busy = state.busy }")
    .replace("busy = busy - 1", "state.busy = state.busy - 1"),
}
CONFIG = 'config = { place = "the desk"; };'


def heard(c, queue):
    return [json.loads(j["payload"])
            for j in c.call("JOB.LIST", queue, "waiting")[1]]


def test_message_comes_decoded_with_its_topic(bh, c):
    assert c.call("PUBLISH", "guest.9", '{"name":"Ana"}') == 1
    assert c.call("PUBLISH", "guest.9", "just text") == 1
    assert c.call("PUBLISH", "guest.12.door", "[1,2]") == 1
    assert c.call("PUBLISH", "staff.1", "x") == 0
    wait_until(lambda: len(heard(c, "heard")) == 3)
    assert heard(c, "heard") == [
        {"topic": "guest.9", "msg": {"name": "Ana"}, "kind": "table"},
        {"topic": "guest.9", "msg": "just text", "kind": "string"},
        {"topic": "guest.12.door", "msg": [1, 2], "kind": "table"}]
    bh.check_stderr()


def test_messages_of_a_pattern_keep_their_order(c):
    for n in range(50):
        c.call("PUBLISH", "slow.%d" % (n % 3), str(n))
    wait_until(lambda: len(heard(c, "slow")) == 50)
    got = heard(c, "slow")
    assert [g["n"] for g in got] == list(range(50))
    assert {g["busy"] for g in got} == {1}


def test_error_is_logged_once_and_hearing_goes_on(bh, c):
    for _ in range(5):
        c.call("PUBLISH", "alarm", "boom")
    c.call("PUBLISH", "alarm", '"fire"')
    wait_until(lambda: heard(c, "alarms"))
    assert heard(c, "alarms") == [{"msg": "fire"}]
    assert bh.err_text().count("an alarm at the desk") == 1


def test_reload_moves_to_the_new_function(make):
    old = "return { subscribe = { a = function(m) queue.add('old', m) end } }"
    d = make(scripts={"s.lua": old})
    with d.client() as c:
        assert c.call("PUBLISH", "a", '{"n":1}') == 1
        wait_until(lambda: heard(c, "old") == [{"n": 1}])
        d.write_script("s.lua", old.replace("'old'", "'new'")
                       .replace("a =", "b ="))
        d.reload_ok()
        assert c.call("PUBLISH", "a", "{}") == 0
        assert c.call("PUBLISH", "b", '{"n":2}') == 1
        wait_until(lambda: heard(c, "new") == [{"n": 2}])
        d.remove_script("s.lua")
        d.reload_ok()
        assert c.call("PUBLISH", "b", "{}") == 0
