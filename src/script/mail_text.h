/* SPDX-License-Identifier: MIT */
/* The text of mails: header values (RFC 5322, RFC 2047) and addresses. */
#ifndef SCRIPT_MAIL_TEXT_H
#define SCRIPT_MAIL_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* UTF-8 text as a header's value: as it is, or in encoded words of at most 75
 * characters, folded. */
void mail_words(struct buf *out, const char *s, size_t len);
/* "Name <a@b>" or "a@b": the header's form is added to out, and the bare
 * address to addr. false: it is none. */
bool mail_address(struct buf *out, struct buf *addr, const char *s,
    size_t len);
/* "Sat, 21 Nov 2026 10:00:00 +0000" */
void mail_date(struct buf *out, int64_t wall_ms);
/* The text with CR LF at the end of each line, as mail wants it. */
char *mail_lines(const char *s, size_t len, size_t *ret_len);

#endif
