/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics page, from a snapshot and the engine's own lists of names. */
#ifndef SLUICE_RUN_METRICS_H
#define SLUICE_RUN_METRICS_H

#include "run/probe.h"

struct sluice_metrics_context {
    const struct sluice_probe_snapshot *snapshot;
    int is_ready;
    const char *worker, *version; /* NULL: not loaded yet */
    int64_t started_ms;
    int as_openmetrics; /* else Prometheus text 0.0.4 */
};

/* Bytes written, at most size; the text is cut at a line when it does not fit. */
size_t sluice_metrics_render(const struct sluice_metrics_context *context, char *out, size_t size);

#endif
