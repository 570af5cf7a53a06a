/* SPDX-License-Identifier: MIT */
/* What the errors of a Redis mean for Bellhop's users. */
#ifndef REDIS_ERROR_H
#define REDIS_ERROR_H

#include "plugin.h"

/* The code, and a sentence that says what to do. */
int rerror_text(const char *error, char text[BH_ERROR_TEXT]);
/* Whether it goes away by itself (LOADING), with nobody doing anything. */
bool rerror_passes(const char *error);
/* Whether the error is this one: "READONLY". */
bool rerror_is(const char *error, const char *word);

#endif
