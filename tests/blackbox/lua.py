# SPDX-License-Identifier: MIT
"""Helpers for tests with Lua handlers."""
import json


def script(queue, body, options="", before=""):
    """A script whose perform(job) has this body."""
    return """%s
return {
  queue = "%s", %s
  perform = function(job)
%s
  end,
}
""" % (before, queue, options, body)


def run(c, queue, payload="null", **opts):
    """The decoded result of a job that completes."""
    job = c.completed(c.add(queue, payload, **opts))
    return json.loads(job["result"]) if job.get("result") else None


def fetch_json(c, queue):
    job = c.fetch1(queue)
    c.done(job)
    return json.loads(job["payload"])
