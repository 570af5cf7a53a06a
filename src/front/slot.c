/* SPDX-License-Identifier: MIT */
#include "front/slot.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"

/* Small slots come and go with every command: those of a burst are kept at
 * hand. */
#define SPARE_SIZE 1024
#define SPARE_MAX 1024

static struct slot *spare[SPARE_MAX];
static size_t nspare;

static struct slot *
slot_alloc(size_t size)
{
	if (size > SPARE_SIZE)
		return xmalloc(size);
	return nspare > 0 ? spare[--nspare] : xmalloc(SPARE_SIZE);
}

static void
slot_free(struct slot *s)
{
	buf_done(&s->own);
	if (s->bytes <= SPARE_SIZE && nspare < SPARE_MAX)
		spare[nspare++] = s;
	else
		free(s);
}

void
slot_line_init(struct slot_line *line, struct buf *out)
{
	*line = (struct slot_line){.out = out};
	STAILQ_INIT(&line->slots);
}

static void
copy_args(struct slot *s, const struct bh_bytes *argv, size_t argc)
{
	char *to = (char *)(s->argv + argc);

	for (size_t i = 0; i < argc; i++) {
		s->argv[i] = (struct bh_bytes){to, argv[i].len};
		if (argv[i].len)
			memcpy(to, argv[i].data, argv[i].len);
		to += argv[i].len;
	}
	s->call.argv = s->argv;
	s->call.argc = argc;
}

struct slot *
slot_new(struct slot_line *line, const struct bh_bytes *argv, size_t argc,
    int proto, bool muted)
{
	size_t size = sizeof(struct slot) + argc * sizeof(*argv);
	bool head = STAILQ_EMPTY(&line->slots);
	struct slot *s;

	for (size_t i = 0; i < argc; i++)
		size += argv[i].len;
	s = slot_alloc(size);
	*s = (struct slot){.line = line, .bytes = size};
	copy_args(s, argv, argc);
	s->call.mute = muted;
	s->call.reply = &s->sink.reply;
	resp_sink_init(&s->sink, head && line->out && !muted ? line->out :
	    &s->own, proto);
	STAILQ_INSERT_TAIL(&line->slots, s, entry);
	line->n++;
	line->bytes += size;
	return s;
}

/* Takes the ended head off the line. */
static void
leave(struct slot_line *line)
{
	struct slot *s = STAILQ_FIRST(&line->slots);
	size_t own = buf_size(&s->own);

	if (own > 0 && line->out && !s->call.mute)
		buf_add(line->out, buf_peek(&s->own), own);
	line->held -= own;
	STAILQ_REMOVE_HEAD(&line->slots, entry);
	line->n--;
	line->bytes -= s->bytes;
	slot_free(s);
}

void
slot_end(struct slot *s)
{
	struct slot_line *line = s->line;

	CHECK(!s->ended);
	s->ended = true;
	line->held += buf_size(&s->own);
	while ((s = STAILQ_FIRST(&line->slots)) && s->ended)
		leave(line);
	/* The new head has written nothing yet: it may do so in place. */
	if (s && line->out && !s->call.mute && buf_size(&s->own) == 0)
		s->sink.out = line->out;
}

void
slot_line_cancel_waiting(struct slot_line *line, bool all)
{
	struct slot *s, *next;

	STAILQ_FOREACH_SAFE(s, &line->slots, entry, next)
		if (!s->ended && (s->call.waits || (all && s->call.row &&
		    s->call.row->flags & CMD_BLOCKS)))
			cmd_cancel(&s->call);
}

void
slot_line_abandon(struct slot_line *line)
{
	struct slot *s, *next;

	line->out = NULL;
	STAILQ_FOREACH_SAFE(s, &line->slots, entry, next) {
		s->sink.out = &s->own;
		if (!s->ended)
			cmd_cancel(&s->call);
	}
}
