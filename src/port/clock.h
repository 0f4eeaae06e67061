/* SPDX-License-Identifier: Apache-2.0 */
/* The time, for all but the engine and its simulation, to which it is given. */
#ifndef SLUICE_PORT_CLOCK_H
#define SLUICE_PORT_CLOCK_H

#include <stdint.h>

/* Milliseconds of the monotonic clock that counts suspended time. Any thread. */
int64_t sluice_mono_ms(void);
/* Milliseconds since 1970. Any thread. */
int64_t sluice_wall_ms(void);

#endif
