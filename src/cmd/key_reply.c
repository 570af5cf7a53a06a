/* SPDX-License-Identifier: MIT */
#include "cmd/key_reply.h"

#include <string.h>

#include "base/attr.h"
#include "base/err.h"

enum { TEXT_MAX = 1100 };

static size_t
take(struct bh_bytes s, char text[TEXT_MAX])
{
	size_t n = s.len < TEXT_MAX ? s.len : TEXT_MAX - 1;

	memcpy(text, s.data, n);
	text[n] = '\0';
	return n;
}

static void
put_status(struct reply *r, struct bh_bytes s)
{
	char text[TEXT_MAX];

	(void)take(s, text);
	r->ops->simple(r, text);
}

/* An error's first word is its name. One that is not in our table goes out as
 * it is: Redis has some, and scripts make their own. */
static void
put_error(struct reply *r, struct bh_bytes s)
{
	static const int codes[] = {BH_E_ERR, BH_E_WRONGTYPE, BH_E_OOM};
	char text[TEXT_MAX];
	size_t n = take(s, text);

	for (size_t i = 0; i < nitems(codes); i++) {
		const char *word = err_word(codes[i]);
		size_t len = strlen(word);

		if (n > len && memcmp(text, word, len) == 0 &&
		    text[len] == ' ') {
			r->ops->error(r, codes[i], text + len + 1);
			return;
		}
	}
	r->ops->error_line(r, text);
}

const struct bh_value *
key_reply(struct reply *r, const struct bh_value *v)
{
	size_t n = v->n;

	switch (v->type) {
	case BH_NULL:
		r->ops->null(r);
		return v + 1;
	case BH_NULL_ARRAY:
		r->ops->null_array(r);
		return v + 1;
	case BH_STATUS:
		put_status(r, v->s);
		return v + 1;
	case BH_ERROR:
		put_error(r, v->s);
		return v + 1;
	case BH_INTEGER:
		r->ops->integer(r, v->i);
		return v + 1;
	case BH_DOUBLE:
		r->ops->real(r, v->d);
		return v + 1;
	case BH_STRING:
		r->ops->bulk(r, v->s.data, v->s.len);
		return v + 1;
	case BH_ARRAY:
		r->ops->array(r, n);
		break;
	case BH_MAP:
		r->ops->map(r, n);
		n *= 2;
		break;
	}
	v++;
	for (size_t i = 0; i < n; i++)
		v = key_reply(r, v);
	return v;
}
