/* SPDX-License-Identifier: Apache-2.0 */
/* The clock of everything that has a deadline towards NATS. */
#ifndef SLUICE_ADAPTER_NATS_CLOCK_H
#define SLUICE_ADAPTER_NATS_CLOCK_H

#include <stdint.h>

/* Milliseconds of the monotonic clock that counts suspended time. Any thread. */
int64_t sluice_nats_now_ms(void);

#endif
