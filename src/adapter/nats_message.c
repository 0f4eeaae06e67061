/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_message.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Versions whose message is known to be one piece of memory: subject, reply, header block, body,
 * each with an ending NUL (natsMsg_create; read in 3.4.1 to 3.13.0). There the header block is what
 * lies before the body. Their own reader of headers is broken before 3.11, see nats_headers.h. */
#define KNOWN_LAYOUT_FROM 0x030401u
#define KNOWN_LAYOUT_TO   0x030dffu

static int is_layout_known(void)
{
    uint32_t version = nats_GetVersionNumber();
    return version >= KNOWN_LAYOUT_FROM && version <= KNOWN_LAYOUT_TO;
}

/* The header block; its length is 0 when there is none. */
static size_t raw_block(const struct sluice_nats_message *message, const char **block)
{
    const char *before = message->reply[0] != '\0' ? message->reply : message->subject;
    const char *start = before + strlen(before) + 1;
    const char *body = message->body;
    *block = start;
    return body == NULL || body <= start ? 0 : (size_t)(body - start) - 1;
}

/* With a library of another version, by its own functions: names in alphabetical order. */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void visit_by_library(const struct sluice_nats_message *message,
                             sluice_nats_header_fn *visit, void *ctx)
{
    const char **names = NULL;
    int names_count = 0;
    if (natsMsgHeader_Keys(message->raw, &names, &names_count) != NATS_OK) {
        return;
    }
    qsort(names, (size_t)names_count, sizeof names[0], compare_names);
    for (int i = 0; i < names_count; i++) {
        const char **values = NULL;
        int values_count = 0;
        if (natsMsgHeader_Values(message->raw, names[i], &values, &values_count) != NATS_OK) {
            continue;
        }
        for (int j = 0; j < values_count; j++) {
            const char *value = values[j] == NULL ? "" : values[j];
            visit(ctx, names[i], strlen(names[i]), value, strlen(value));
        }
        free(values);
    }
    free(names);
}

static int status_by_library(const struct sluice_nats_message *message, char *text, size_t size)
{
    const char *code = NULL, *words = NULL;
    if (natsMsgHeader_Get(message->raw, "Status", &code) != NATS_OK || code == NULL) {
        return 0;
    }
    if (natsMsgHeader_Get(message->raw, "Description", &words) == NATS_OK && words != NULL) {
        (void)snprintf(text, size, "%s", words);
    }
    return atoi(code);
}

int sluice_nats_message_status(const struct sluice_nats_message *message, char *text, size_t size)
{
    const char *block;
    text[0] = '\0';
    if (!is_layout_known()) {
        return status_by_library(message, text, size);
    }
    size_t len = raw_block(message, &block);
    return sluice_nats_headers_status(block, len, text, size);
}

void sluice_nats_message_headers(const struct sluice_nats_message *message,
                                 sluice_nats_header_fn *visit, void *ctx)
{
    const char *block;
    if (!is_layout_known()) {
        visit_by_library(message, visit, ctx);
        return;
    }
    size_t len = raw_block(message, &block);
    sluice_nats_headers_parse(block, len, visit, ctx);
}
