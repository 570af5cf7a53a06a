-- SPDX-License-Identifier: MIT
-- Built into bellhopd: sends the alerts that cmd/alert_tell.c puts into the
-- queue bellhop.alerts, each with the place where it goes.

local function sign(body)
  local ok, key = pcall(secret, "alerts_webhook")
  return ok and "sha256=" .. crypto.hmac(key, body) or nil
end

local function post(job, url, alert)
  local body = json.encode(alert)
  local res = http.post(url, { body = body, timeout = "10s", headers = {
    ["Content-Type"] = "application/json",
    ["X-Bellhop-Signature"] = sign(body),
  } })
  if res.status >= 400 then
    job:retry(res.retry_after, "the webhook of the alerts answered " .. res.status)
  end
end

local function mail_to(to, alert)
  local on = alert.state == "firing"
  mail.send {
    to = to,
    subject = ("[%s] %s%s"):format(alert.host, on and "" or "over: ", alert.text),
    text = ("%s\n\nalert: %s\nstate: %s\nsince: %s\nhost: %s\n"):format(
      alert.text, alert.alert, alert.state,
      os.date("!%Y-%m-%d %H:%M:%S UTC", alert.since // 1000), alert.host),
  }
end

return {
  queue = "bellhop.alerts",
  concurrency = 2,
  attempts = 25,
  timeout = "30s",
  backoff = { type = "exponential", delay = "5s", max = "10m" },

  perform = function(job)
    if job.data.webhook then post(job, job.data.webhook, job.data.alert) end
    if job.data.mail then mail_to(job.data.mail, job.data.alert) end
  end,
}
