/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's settings for jemalloc, which is linked where it is installed (meson option
 * `jemalloc`); MALLOC_CONF overrides them.
 *
 * cnats frees each message on a thread of its own, which glibc pays for with its arena's lock and
 * without its cache: with 10,000 messages in flight a third of the worker's CPU time, with 256 a
 * fifth (README, "Speed").
 *
 * One arena, because what the loop allocates is freed by other threads: with more of them memory
 * wanders. Caches hold blocks up to 4 KiB, and twice as many of each as jemalloc's own default,
 * so that messages come and go without a lock. What is not used goes back to the kernel within 10
 * s, jemalloc's default: after one second each message pays for a share of a madvise.
 */
#include <stddef.h>

/* jemalloc reads it at its start. */
__attribute__((visibility("default"))) extern const char *malloc_conf;
const char *malloc_conf = "narenas:1,tcache_max:4096,lg_tcache_nslots_mul:2";
