/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_status.h"

#include <strings.h>

struct row {
    int code;
    const char *text; /* a part of the server's text, any case; NULL: any text of this code */
    enum sluice_pull_status status;
};

/* First match counts. Texts as nats-server 2.9 to 2.12 sends them (consumer.go); a text is looked
 * for as a part, because servers add to them ("Exceeded MaxRequestBatch of 10"). 404 and 408
 * changed places for an empty no_wait pull (2.11.11, 2.12.2), so they mean the same here. */
static const struct row rows[] = {
    {100, NULL, SLUICE_PULL_ALIVE},
    {404, NULL, SLUICE_PULL_ENDED},
    {408, NULL, SLUICE_PULL_ENDED},
    {409, "Consumer Deleted", SLUICE_PULL_GONE},
    {409, "Leadership Change", SLUICE_PULL_MOVED},
    {409, "Server Shutdown", SLUICE_PULL_MOVED},
    {409, "Batch Completed", SLUICE_PULL_ENDED},
    {409, "Message Size Exceeds MaxBytes", SLUICE_PULL_ENDED},
    {503, NULL, SLUICE_PULL_GONE}, /* 2.12: no such consumer; older servers are silent */
};

/* strcasestr is not C; the texts are short. */
static int contains(const char *text, const char *part)
{
    size_t part_len = 0;
    while (part[part_len] != '\0') {
        part_len++;
    }
    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, part_len) == 0) {
            return 1;
        }
    }
    return 0;
}

enum sluice_pull_status sluice_nats_status_of(int code, const char *text)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code &&
            (rows[i].text == NULL || (text != NULL && contains(text, rows[i].text)))) {
            return rows[i].status;
        }
    }
    return SLUICE_PULL_UNKNOWN;
}
