/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of our own code that are made to fail one by one: memory, files, threads, and the libraries
 * that we use. The linker puts these wrappers in their place (--wrap), so libraries keep the real
 * ones among themselves; cJSON gets ours by its hooks. */
#ifndef SLUICE_TESTS_FAILING_H
#define SLUICE_TESTS_FAILING_H

#include "core/alloc.h"

enum failing_kind {
    FAILING_MEMORY = 1,
    FAILING_CALLS = 2,
    FAILING_ALL = 3,
    FAILING_TOLERATED = 4, /* the work may go well all the same: it does without, or tries again */
    FAILING_LIBBSON = 8    /* memory of libbson, which ends the process for want of it */
};

/* From now on the nth call (from 1; 0: none) of these kinds fails; with `goes_on` all later ones as
 * well. Any thread may call; the numbers are given out in order. */
void failing_begin(enum failing_kind kinds, long nth, int goes_on);
/* Nothing fails any more. How many calls of these kinds there were. */
long failing_end(void);
/* cJSON's memory is ours to fail, too; 0: not any more. A sweep does this itself. */
void failing_hook_cjson(int is_hooked);
/* Within a case: nothing fails and nothing is counted until failing_go_on(). */
void failing_hold(void);
void failing_go_on(void);
/* Name of the call that failed first; "" when none did. */
const char *failing_name(void);

/* When it is a descriptor, the name of the call that fails first is written to it at once: for
 * processes that may not live to tell. */
extern int failing_tell_fd;

/* Our allocator on the heap that the linker has wrapped, and what of it was not freed; any thread.
 */
extern const struct sluice_allocator failing_allocator;
long failing_open_blocks(void);

/* What can be repeated with other calls failing: 1 when it went well, 0 when it reported a failure.
 * It checks by itself that either is true and everything was given back. */
typedef int failing_case(void *ctx);
/* Run it undisturbed (it must go well), then with the first call failing, the second … each alone
 * and with all after it, until nothing fails any more. Returns how many calls could fail. A file
 * that SLUICE_FAILING_COUNTED names gets a line for each: 0, or 1 with all after it, and the name.
 */
long failing_sweep(enum failing_kind kinds, failing_case *run, void *ctx);

#endif
