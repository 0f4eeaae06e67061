/* SPDX-License-Identifier: Apache-2.0 */
/* States of the process, in the order of boot. */
#ifndef SLUICE_RUN_STATE_H
#define SLUICE_RUN_STATE_H

#define SLUICE_RUN_STATES(X)                                                                       \
    X(INIT)                                                                                        \
    X(PROBE_UP)                                                                                    \
    X(CLIENTS_UP) X(PUBLISHER_UP) X(SUBSCRIBED) X(RUNNING) X(DRAINING) X(STOPPED) X(FAILED)

enum sluice_run_state {
#define SLUICE_RUN_STATE_ENUM(name) SLUICE_RUN_##name,
    SLUICE_RUN_STATES(SLUICE_RUN_STATE_ENUM)
#undef SLUICE_RUN_STATE_ENUM
        SLUICE_RUN_STATE_COUNT
};

/* Exit codes of `sluice run`. */
enum {
    SLUICE_EXIT_OK = 0,
    SLUICE_EXIT_RUNTIME = 1,
    SLUICE_EXIT_CONFIG = 2,
    SLUICE_EXIT_INIT = 3,
    SLUICE_EXIT_GRACE = 4,
    SLUICE_EXIT_WATCHDOG = 5,
    SLUICE_EXIT_CALLED = 6 /* the plug-in called exit() */
};

#endif
