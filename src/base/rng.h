/* SPDX-License-Identifier: MIT */
/* Random numbers from the kernel. Any thread. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void rng_bytes(void *out, size_t len);
uint64_t rng_u64(void);
/* Uniform in [0, 1). */
double rng_unit(void);

#endif
