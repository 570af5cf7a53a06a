/* SPDX-License-Identifier: MIT */
/* Threads: named, with every signal blocked (signals belong to main). */
#ifndef RT_THR_H
#define RT_THR_H

#include <pthread.h>

/* Ends the process when the system refuses a thread. name: 15 bytes at most. */
void thr_start(pthread_t *ret, const char *name, void *(*fn)(void *),
    void *arg);
void thr_join(pthread_t t);

#endif
