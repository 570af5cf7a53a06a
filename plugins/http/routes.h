/* SPDX-License-Identifier: MIT */
/* Which function answers which method and path. */
#ifndef HTTP_ROUTES_H
#define HTTP_ROUTES_H

#include "http/ask.h"

/* Finds the route of a request and what stands for its {}: NULL when no path
 * fits (*ret_allowed is 0) or none of its methods (*ret_allowed has those that
 * there are). A malformed %XX fits nothing. */
const struct route *route_find(struct web_req *r, struct bh_bytes param[2],
    unsigned *ret_allowed);
/* "GET, HEAD, POST" */
const char *route_methods(struct web_req *r, unsigned methods);

/* jobs.c */
ask_fn job_add, job_get, job_remove, job_update, job_retry, job_promote,
    job_cancel, job_progress, job_why;
/* batch.c */
ask_fn job_batch;
/* work.c */
ask_fn job_fetch, job_done, job_fail, job_release, job_extend;
/* A fetch whose answer could not be sent: its jobs are given back. */
void job_unfetch(struct ask *a);
/* queues.c */
ask_fn queue_list, queue_stats, queue_jobs, queue_pause, queue_resume,
    queue_hold, queue_retry, queue_purge, queue_errors;
/* schedules.c */
ask_fn schedule_list, schedule_get, schedule_put, schedule_remove;
/* keys.c */
ask_fn cache_get, cache_put, cache_remove, limit_take;
/* topics.c */
ask_fn topic_publish, topic_follow, event_follow;
/* hooks.c */
ask_fn hook_call;
/* misc.c */
ask_fn page_index, page_metrics, page_health, page_ready, page_version;

#endif
