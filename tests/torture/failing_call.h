/* SPDX-License-Identifier: Apache-2.0 */
/* For the wrappers: what stands in the place of a call, and when it is to fail. */
#ifndef SLUICE_TESTS_FAILING_CALL_H
#define SLUICE_TESTS_FAILING_CALL_H

#include "failing.h"
#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

/* Counts a call of this kind, and says whether it fails. Any thread. */
int failing_now(enum failing_kind kind, const char *name);
/* The same, but never one of many: not when all calls from one on fail. */
int failing_alone(enum failing_kind kind, const char *name);

#define WRAPPED(type, name, parameters)                                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

#define FAILING_CALL(type, name, parameters, arguments, failure)                                   \
    WRAPPED(type, name, parameters)                                                                \
    {                                                                                              \
        return failing_now(FAILING_CALLS, #name) ? (failure) : __real_##name arguments;            \
    }
#define WITH(code, value) (errno = (code), (value))

ssize_t __real_write(int fd, const void *data, size_t len);

#endif
