/* SPDX-License-Identifier: MIT */
/* bellhopd from its arguments to its exit status. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

/* 0 stopped as asked (or --check found nothing), 1 could not start, 2 usage. */
int boot_run(int argc, char **argv);

#endif
