/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says about a pull: a total function from status code and text to what to do. */
#ifndef SLUICE_ADAPTER_NATS_STATUS_H
#define SLUICE_ADAPTER_NATS_STATUS_H

#include "core/engine.h"

/* `code` and `text` as they came in the first header line ("NATS/1.0 409 Consumer Deleted"); `text`
 * may be NULL. Every combination has an answer; what no server of today says is
 * SLUICE_PULL_UNKNOWN. */
enum sluice_pull_status sluice_nats_status_of(int code, const char *text);

#endif
