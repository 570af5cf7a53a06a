/* SPDX-License-Identifier: MIT */
#include "http/routes.h"

#include <string.h>

static const struct route routes[] = {
	{WEB_POST, "/v1/queues/{}/jobs", job_add, BODY_PAYLOAD},
	{WEB_POST, "/hooks/{}", hook_call, BODY_PAYLOAD},
	{WEB_PUT, "/hooks/{}", hook_call, BODY_PAYLOAD},
	{WEB_GET, "/hooks/{}", hook_call, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/fetch", job_fetch, BODY_NONE},
	{WEB_POST, "/v1/jobs/{}/done", job_done, BODY_JSON},
	{WEB_POST, "/v1/jobs/{}/fail", job_fail, BODY_JSON},
	{WEB_POST, "/v1/jobs/{}/release", job_release, BODY_JSON},
	{WEB_POST, "/v1/jobs/{}/extend", job_extend, BODY_JSON},
	{WEB_POST, "/v1/jobs/{}/progress", job_progress, BODY_JSON},
	{WEB_POST, "/v1/queues/{}/jobs:batch", job_batch, BODY_BATCH},
	{WEB_GET, "/v1/queues/{}/jobs", queue_jobs, BODY_NONE},
	{WEB_GET, "/v1/jobs/{}", job_get, BODY_NONE},
	{WEB_DELETE, "/v1/jobs/{}", job_remove, BODY_NONE},
	{WEB_PUT, "/v1/jobs/{}/payload", job_update, BODY_PAYLOAD},
	{WEB_POST, "/v1/jobs/{}/retry", job_retry, BODY_NONE},
	{WEB_POST, "/v1/jobs/{}/promote", job_promote, BODY_NONE},
	{WEB_POST, "/v1/jobs/{}/cancel", job_cancel, BODY_NONE},
	{WEB_GET, "/v1/jobs/{}/why", job_why, BODY_NONE},
	{WEB_GET, "/v1/queues", queue_list, BODY_NONE},
	{WEB_GET, "/v1/queues/{}", queue_stats, BODY_NONE},
	{WEB_GET, "/v1/queues/{}/errors", queue_errors, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/pause", queue_pause, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/resume", queue_resume, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/hold", queue_hold, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/retry", queue_retry, BODY_NONE},
	{WEB_POST, "/v1/queues/{}/purge", queue_purge, BODY_NONE},
	{WEB_GET, "/v1/schedules", schedule_list, BODY_NONE},
	{WEB_GET, "/v1/schedules/{}", schedule_get, BODY_NONE},
	{WEB_PUT, "/v1/schedules/{}", schedule_put, BODY_JSON},
	{WEB_DELETE, "/v1/schedules/{}", schedule_remove, BODY_NONE},
	{WEB_POST, "/v1/topics/{}", topic_publish, BODY_PAYLOAD},
	{WEB_GET, "/v1/topics/{}", topic_follow, BODY_NONE},
	{WEB_GET, "/v1/events", event_follow, BODY_NONE},
	{WEB_GET, "/v1/cache/{}", cache_get, BODY_NONE},
	{WEB_PUT, "/v1/cache/{}", cache_put, BODY_PAYLOAD},
	{WEB_DELETE, "/v1/cache/{}", cache_remove, BODY_NONE},
	{WEB_POST, "/v1/limits/{}", limit_take, BODY_NONE},
	{WEB_GET, "/metrics", page_metrics, BODY_NONE},
	{WEB_GET, "/healthz", page_health, BODY_NONE},
	{WEB_GET, "/readyz", page_ready, BODY_NONE},
	{WEB_GET, "/version", page_version, BODY_NONE},
	{WEB_GET, "/", page_index, BODY_NONE},
};

#define PARAMS_MAX 2

/* Raw parts of the path, where {} stands in the pattern. */
static bool
fits(const char *pattern, const char *path, struct bh_bytes param[PARAMS_MAX])
{
	size_t n = 0;

	while (*pattern && *path) {
		if (pattern[0] == '{') {
			size_t len = strcspn(path, "/");

			if (len == 0 || n == PARAMS_MAX)
				return false;
			param[n++] = (struct bh_bytes){path, len};
			path += len;
			pattern += 2;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*pattern && !*path;
}

static bool
decode(struct web_req *r, struct bh_bytes *param)
{
	char *s;
	long len;

	if (!param->data || !memchr(param->data, '%', param->len))
		return true;
	s = web_alloc(r, param->len + 1);
	memcpy(s, param->data, param->len);
	len = percent_decode(s, param->len);
	if (len < 0)
		return false;
	*param = (struct bh_bytes){s, (size_t)len};
	return true;
}

const struct route *
route_find(struct web_req *r, struct bh_bytes param[PARAMS_MAX],
    unsigned *ret_allowed)
{
	unsigned want = r->method == WEB_HEAD ? WEB_GET : r->method;

	*ret_allowed = 0;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct bh_bytes found[PARAMS_MAX] = {{NULL, 0}, {NULL, 0}};

		if (!fits(routes[i].path, r->path, found))
			continue;
		*ret_allowed |= routes[i].method | WEB_OPTIONS;
		if (routes[i].method & WEB_GET)
			*ret_allowed |= WEB_HEAD;
		if (routes[i].method != want)
			continue;
		for (int k = 0; k < PARAMS_MAX; k++) {
			param[k] = found[k];
			if (!decode(r, &param[k])) {
				*ret_allowed = 0;
				return NULL;
			}
		}
		return &routes[i];
	}
	return NULL;
}

const char *
route_methods(struct web_req *r, unsigned methods)
{
	static const struct {
		unsigned method;
		const char *name;
	} names[] = {{WEB_GET, "GET"}, {WEB_HEAD, "HEAD"}, {WEB_POST, "POST"},
	    {WEB_PUT, "PUT"}, {WEB_DELETE, "DELETE"},
	    {WEB_OPTIONS, "OPTIONS"}};
	char *s = web_alloc(r, 64);

	*s = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(methods & names[i].method))
			continue;
		if (*s)
			strcat(s, ", ");
		strcat(s, names[i].name);
	}
	return s;
}
