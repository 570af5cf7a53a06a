/* SPDX-License-Identifier: MIT */
/*
 * `bellhopctl test`: scripts under test in this process. Time is turned by
 * hand, the store is in memory, HTTP answers are declared, mails and programs
 * are recorded. spec.lua has what a spec sees; spec.c runs the files and
 * spec_run.c one function of a script.
 */
#ifndef SCRIPT_SPEC_H
#define SCRIPT_SPEC_H

#include <stdio.h>

#include "base/err.h"
#include "conf/conf.h"

/* Runs path, or every *_spec.lua below it in the order of names. Failures and
 * a summary go to out. The number of specs that failed; -1 and a sentence when
 * there is nothing to run. */
MUSTCHECK int spec_main(const char *path, const struct conf *conf, FILE *out,
    struct err *e);

#endif
