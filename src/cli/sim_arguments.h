/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice sim` was asked to do. */
#ifndef SLUICE_CLI_SIM_ARGUMENTS_H
#define SLUICE_CLI_SIM_ARGUMENTS_H

#include "sim/campaign.h"

struct sim_options {
    struct sim_campaign_options campaign;
    int shows_events, shows_trace, is_json, is_quiet, is_short;
    const char *scenario, *shrink_to; /* NULL: not given */
};

/* -1: go on; else the exit code. What does not go together is refused. */
int sim_arguments_read(int argc, char **argv, struct sim_options *o);

#endif
