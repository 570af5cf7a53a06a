-- Runs a workflow of n8n and keeps what it answers.
--
--   bellhopctl add n8n '{"workflow": "check-in", "data": {"guest": "Ana"}}'
--   bellhopctl job 1                               (shows the answer)
--
-- With "then": "QUEUE" the answer becomes a job of that queue.
--
-- The workflow begins with a Webhook node (POST, Header Auth with the header
-- Authorization and the value "Bearer SECRET") and ends with Respond to
-- Webhook; set the first one's Respond to "Using Respond to Webhook Node".
--
-- bellhop.conf:
--   config = { n8n = {
--     url = "http://127.0.0.1:5678/webhook";                 (the default)
--     timeout = "2m";           how long a workflow may take (the default)
--   }; };
-- Secret "n8n".
--
-- The answer is kept as soon as it is there: what comes after it may fail and
-- be tried again, and the workflow does not run twice for that. If the daemon
-- dies while the workflow runs, it does; the header Idempotency-Key is the
-- same then.

local cfg = config.n8n or {}
local url = cfg.url or "http://127.0.0.1:5678/webhook"
local wait = cfg.timeout or "2m"

local function run_workflow(job)
  local res = http.post(url .. "/" .. job.data.workflow, {
    json = job.data.data == nil and json.null or job.data.data,
    timeout = wait, max_size = 1048576,
    headers = {
      Authorization = "Bearer " .. secret("n8n"),
      ["Idempotency-Key"] = ("%s-%d"):format(job.id, job.created_at),
    } })
  local why = ("n8n answered %d for %s"):format(res.status, job.data.workflow)

  if res.status == 429 or res.status == 503 then
    job:retry(res.retry_after, why)
  elseif res.status >= 500 or res.status == 404 then
    error(why, 0)          -- 404: the workflow is not active, maybe not yet
  elseif res.status >= 400 then
    job:fail(why)
  end
  return res.json ~= nil and res.json or res.body
end

return {
  queue       = "n8n",
  concurrency = 5,
  attempts    = 6,
  backoff     = { type = "exponential", delay = "5s", max = "10m" },
  timeout     = "5m",

  perform = function(job)
    local d = job.data
    if type(d) ~= "table" or type(d.workflow) ~= "string"
      or not d.workflow:find("^[%w_%-/]+$") then
      job:fail("expected {workflow, data}; workflow is the webhook's path")
    end

    local answer = job:step("workflow", function() return run_workflow(job) end)
    if d["then"] then
      job:step("then", function()
        return queue.add(d["then"], answer, { group = job.group })
      end)
    end
    return answer
  end,
}
