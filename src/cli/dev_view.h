/* SPDX-License-Identifier: Apache-2.0 */
/* What `sluice dev` shows: the worker's log lines turned into one line for each message's way. */
#ifndef SLUICE_CLI_DEV_VIEW_H
#define SLUICE_CLI_DEV_VIEW_H

#include <stddef.h>

#define DEV_VIEW_WAYS 4096 /* messages whose way is remembered, by sequence; as many are in flight at most */

struct dev_way {
    long long seq, received_ms;
    char text[192];
};

struct dev_view {
    int fd; /* of the worker's log; -1: none */
    int with_colour;
    int is_running; /* the worker has reached state RUNNING */
    unsigned received, stored, published, acknowledged, failed, dead;
    char last_error[512];
    char line[16384];
    size_t len;
    struct dev_way ways[DEV_VIEW_WAYS];
};

void dev_view_open(struct dev_view *v);
void dev_view_attach(struct dev_view *v, int fd);
/* Read what is there, waiting at most so long for the first byte. */
void dev_view_pump(struct dev_view *v, int wait_ms);
void dev_view_line(const struct dev_view *v, const char *what, const char *where);
void dev_view_close(struct dev_view *v);

#endif
