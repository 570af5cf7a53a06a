/* SPDX-License-Identifier: MIT */
/* Any text: it is taken or refused with a sentence, and what is taken can be
 * shown, compared and applied. */
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig loses the string in front of a syntax error. */
const char *
__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static void
use(struct conf *c)
{
	struct conf *def = conf_new();
	struct qopts *q = qopts_new();
	struct buf out = BUF_INIT;
	struct bh_queue_opts o;
	const char *name;

	for (size_t i = 0; (name = conf_name(i)); i++)
		CHECK(conf_get(c, name, &out) == 0);
	conf_needs_restart(def, c, &out);
	conf_apply_queues(c, q);
	qopts_resolve(q, "outbound.mail", &o);
	CHECK(o.weight > 0 && o.attempts > 0 && o.rate_per_ms > 0);
	buf_done(&out);
	qopts_free(&q);
	conf_free(&def);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct buf report = BUF_INIT;
	struct err e = ERR_INIT;
	struct conf *c = NULL;

	/* Other files are none of this test's business. */
	if (size && memmem(text, size, "@include", 8))
		return 0;
	if (conf_load_text(&c, "fuzz.conf", text, size, &report, &e) == 0)
		use(c);
	else
		CHECK(e.code != BH_OK && e.text[0] && buf_size(&report) > 0);
	conf_free(&c);
	buf_done(&report);
	return 0;
}
