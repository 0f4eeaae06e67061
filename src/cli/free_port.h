/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_CLI_FREE_PORT_H
#define SLUICE_CLI_FREE_PORT_H

/* A port of the loopback that was free a moment ago; 0: none. */
unsigned free_port(void);

#endif
