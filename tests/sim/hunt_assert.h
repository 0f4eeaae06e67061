/* SPDX-License-Identifier: Apache-2.0 */
/* In place of core/assert.h for engines with a deliberate mistake: what is asserted is counted, and
 * the engine goes on. An assertion that ends the seed would end it before a judge can see what the
 * mistake does to a message. */
#ifndef SLUICE_CORE_ASSERT_H
#define SLUICE_CORE_ASSERT_H

/* Defined by tests/sim/hunt.c; the first is for what is not the engine's. */
_Noreturn void sluice_panic(const char *expression, const char *file, int line, const char *state);
void sluice_hunt_asserted(const char *state);

#define SLUICE_ASSERT_IN(expression, state)                                                        \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            sluice_hunt_asserted(state);                                                           \
        }                                                                                          \
    } while (0)
#define SLUICE_ASSERT(expression) SLUICE_ASSERT_IN(expression, "")

#endif
