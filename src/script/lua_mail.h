/* SPDX-License-Identifier: MIT */
/* mail.send{ from, to, cc, bcc, reply_to, subject, text, html, attachments,
 * headers }: answers with the message's id. */
#ifndef SCRIPT_LUA_MAIL_H
#define SCRIPT_LUA_MAIL_H

#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"

/* Adds `mail` to the table on top of the stack. */
void lua_mail_open(lua_State *L);

#endif
