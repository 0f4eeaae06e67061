/* SPDX-License-Identifier: Apache-2.0 */
/* For our own mistakes, on in release builds. Foreign data is checked and rejected, never asserted.
 */
#ifndef SLUICE_CORE_ASSERT_H
#define SLUICE_CORE_ASSERT_H

/* Called with what must not be; prints and ends the process. Core declares it, the program
 * (src/run/panic.c) defines it. */
_Noreturn void sluice_panic(const char *expression, const char *file, int line, const char *state);

#define SLUICE_ASSERT_IN(expression, state)                                                        \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            sluice_panic(#expression, __FILE__, __LINE__, (state));                                \
        }                                                                                          \
    } while (0)
#define SLUICE_ASSERT(expression) SLUICE_ASSERT_IN(expression, "")

#endif
