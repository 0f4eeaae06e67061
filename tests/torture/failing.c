/* SPDX-License-Identifier: Apache-2.0 */
#include "failing.h"

#include "failing_call.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int armed, held, goes_on;
static _Atomic long nth, calls;
static const char nothing[] = "";
static _Atomic(const char *) first = nothing;
int failing_tell_fd = -1;

int failing_now(enum failing_kind kind, const char *name)
{
    if ((atomic_load(&armed) & (int)kind) == 0) {
        return 0;
    }
    long number = atomic_fetch_add(&calls, 1) + 1;
    long wanted = atomic_load(&nth);
    if (wanted == 0 || number < wanted || (number > wanted && !atomic_load(&goes_on))) {
        return 0;
    }
    const char *none = nothing;
    if (atomic_compare_exchange_strong(&first, &none, name) && failing_tell_fd >= 0) {
        (void)!__real_write(failing_tell_fd, name, strlen(name));
    }
    return 1;
}

int failing_alone(enum failing_kind kind, const char *name)
{
    return !atomic_load(&goes_on) && failing_now(kind, name);
}

void failing_begin(enum failing_kind kinds, long number, int from_then_on)
{
    atomic_store(&first, nothing);
    atomic_store(&calls, 0);
    atomic_store(&nth, number);
    atomic_store(&goes_on, from_then_on);
    atomic_store(&held, 0);
    atomic_store(&armed, (int)kinds);
}

void failing_hold(void)
{
    atomic_store(&held, atomic_exchange(&armed, 0));
}

void failing_go_on(void)
{
    atomic_store(&armed, atomic_exchange(&held, 0));
}

long failing_end(void)
{
    atomic_store(&armed, 0);
    return atomic_load(&calls);
}

const char *failing_name(void)
{
    return atomic_load(&first);
}

/* ---- Memory ---- */

static atomic_long open_blocks;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        atomic_fetch_sub(&open_blocks, p != NULL);
        free(p);
        return NULL;
    }
    void *memory = realloc(p, size);
    atomic_fetch_add(&open_blocks, p == NULL && memory != NULL);
    return memory;
}

const struct sluice_allocator failing_allocator = {.resize = resize};

long failing_open_blocks(void)
{
    return atomic_load(&open_blocks);
}

WRAPPED(void *, malloc, (size_t size))
{
    if (failing_now(FAILING_MEMORY, "malloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_malloc(size);
}

WRAPPED(void *, calloc, (size_t count, size_t size))
{
    if (failing_now(FAILING_MEMORY, "calloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_calloc(count, size);
}

WRAPPED(void *, realloc, (void *p, size_t size))
{
    if (failing_now(FAILING_MEMORY, "realloc")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_realloc(p, size);
}

WRAPPED(char *, strdup, (const char *text))
{
    if (failing_now(FAILING_MEMORY, "strdup")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_strdup(text);
}

WRAPPED(char *, strndup, (const char *text, size_t len))
{
    if (failing_now(FAILING_MEMORY, "strndup")) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_strndup(text, len);
}

/* ---- */

static void *hooked_malloc(size_t size)
{
    return __wrap_malloc(size);
}

static void hooked_free(void *p)
{
    free(p);
}

void failing_hook_cjson(int is_hooked)
{
    static cJSON_Hooks hooks = {.malloc_fn = hooked_malloc, .free_fn = hooked_free};
    cJSON_InitHooks(is_hooked ? &hooks : NULL);
}

/* For who counts: a line for each call that was made to fail. */
static void count_in(const char *path, int on)
{
    FILE *file = path == NULL || failing_name()[0] == '\0' ? NULL : fopen(path, "ae");
    if (file != NULL) {
        (void)fprintf(file, "%d %s\n", on, failing_name());
        (void)fclose(file);
    }
}

static int run_once(enum failing_kind kinds, failing_case *run, void *ctx, long number, int on,
                    long *count)
{
    failing_begin(kinds, number, on);
    int went_well = run(ctx);
    *count = failing_end();
    count_in(getenv("SLUICE_FAILING_COUNTED"), on);
    if (went_well && on && failing_name()[0] != '\0' && (kinds & FAILING_TOLERATED) == 0) {
        (void)fprintf(stderr, "call %ld (%s) and all after it failed, and yet all went well\n",
                      number, failing_name());
        abort();
    }
    return went_well;
}

long failing_sweep(enum failing_kind kinds, failing_case *run, void *ctx)
{
    long count = 0;
    failing_hook_cjson(1);
    if (!run_once(kinds, run, ctx, 0, 0, &count)) {
        (void)fprintf(stderr, "failed undisturbed\n");
        abort();
    }
    for (int on = 0; on <= 1; on++) {
        long number = 1, seen = count;
        for (; number <= seen && number <= 100000; number++) {
            (void)run_once(kinds, run, ctx, number, on, &seen);
            if (failing_name()[0] == '\0') {
                break; /* it made fewer calls than that */
            }
            seen = seen > number ? seen : number + 1;
        }
    }
    failing_hook_cjson(0);
    return count;
}
