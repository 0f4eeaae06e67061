/* SPDX-License-Identifier: Apache-2.0 */
/* A host with one message in flight, for tests of its parts. */
#ifndef SLUICE_TESTS_SHELL_HOST_FIXTURE_H
#define SLUICE_TESTS_SHELL_HOST_FIXTURE_H

#include "llm_writer.h"
#include "run/host.h"

struct host_fixture {
    struct sluice_plugin plugin; /* requires nothing, has the output `ready` */
    struct worker_host host;
    struct llm_writer llm;
    struct sluice_delivery delivery;
    struct inflight m;
};

/* For cmocka; between them the fixture is open, its message S:7, stored at 1700000000123456789 ns.
 */
extern struct host_fixture fixture;
int host_fixture_setup(void **state);
int host_fixture_teardown(void **state);
/* The message anew, as a later delivery brings it to another process. */
void host_fixture_redeliver(void);

#endif
