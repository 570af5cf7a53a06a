/* SPDX-License-Identifier: MIT */
#include "cmd/bus_text.h"

#include <stdio.h>

#include "base/die.h"
#include "base/json.h"
#include "cmd/bus.h"

const char *
bus_news_word(enum bh_job_news news)
{
	static const char *const words[] = {
		[BH_NEWS_ADDED] = "added", [BH_NEWS_ACTIVE] = "active",
		[BH_NEWS_COMPLETED] = "completed",
		[BH_NEWS_FAILED] = "failed",
		[BH_NEWS_RETRYING] = "retrying",
		[BH_NEWS_STALLED] = "stalled",
		[BH_NEWS_PROGRESS] = "progress",
		[BH_NEWS_REMOVED] = "removed",
	};

	CHECK(news < nitems(words));
	return words[news];
}

/* JSON as it is, on one line: a line break can only stand between tokens. */
static void
put_data(struct json *j, struct bh_bytes v)
{
	char *p;

	if (!json_valid(v.data, v.len)) {
		json_bytes(j, v.data, v.len);
		return;
	}
	json_raw(j, v.data, v.len);
	p = j->out->data + j->out->len - v.len;
	for (size_t i = 0; i < v.len; i++)
		if (p[i] == '\n' || p[i] == '\r')
			p[i] = ' ';
}

void
bus_write_topic(struct buf *out, struct bh_bytes topic,
    struct bh_bytes message)
{
	struct json j;

	json_init(&j, out);
	json_object(&j);
	json_key(&j, "topic");
	json_bytes(&j, topic.data, topic.len);
	json_key(&j, "data");
	put_data(&j, message);
	json_object_end(&j);
}

void
bus_write_job(struct buf *out, const struct bh_job_event *ev)
{
	struct json j;
	static const char *const states[] = {"waiting", "delayed", "active",
	    "completed", "failed"};
	char id[24];

	snprintf(id, sizeof(id), "%lld", (long long)ev->id);
	json_init(&j, out);
	json_object(&j);
	json_key(&j, "event");
	json_str(&j, bus_news_word(ev->news));
	json_key(&j, "id");
	json_str(&j, id);
	json_key(&j, "queue");
	json_bytes(&j, ev->queue.data, ev->queue.len);
	json_key(&j, "state");
	json_str(&j, states[ev->state]);
	json_key(&j, "attempt");
	json_int(&j, ev->attempt);
	json_key(&j, "at");
	json_int(&j, ev->at);
	if (ev->progress.data) {
		json_key(&j, "progress");
		put_data(&j, ev->progress);
	}
	if (ev->error.data) {
		json_key(&j, "error");
		json_bytes(&j, ev->error.data, ev->error.len);
	}
	json_object_end(&j);
}
