/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_request.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX_MS   2000 /* then it is sent whatever else is under way: silence is no load */
#define SILENCE_MS    2000 /* then a request that may be stored twice is sent again */
#define WAIT_FIRST_MS 100
#define WAIT_MAX_MS   1000

static void *put(char **at, const void *data, size_t len)
{
    void *to = *at;
    if (len > 0) {
        memcpy(to, data, len);
    }
    *at += len;
    return to;
}

struct sluice_nats_copy *sluice_nats_copy_create(const struct sluice_nats_request *request,
                                                 int64_t now_ms)
{
    uint32_t count = request->headers_count;
    size_t size = sizeof(struct sluice_nats_copy) + count * sizeof request->headers[0] +
                  strlen(request->subject) + 1 + request->body.len;
    for (uint32_t i = 0; i < count; i++) {
        size += strlen(request->headers[i].name) + strlen(request->headers[i].value) + 2;
    }
    struct sluice_nats_copy *copy = malloc(size);
    if (copy == NULL) {
        return NULL;
    }
    char *at = (char *)(copy + 1);
    *copy = (struct sluice_nats_copy){
        .request = *request, .deadline_ms = now_ms + request->timeout_ms, .wait_ms = WAIT_FIRST_MS};
    sluice_header *headers = put(&at, request->headers, count * sizeof headers[0]);
    for (uint32_t i = 0; i < count; i++) {
        headers[i].name = put(&at, headers[i].name, strlen(headers[i].name) + 1);
        headers[i].value = put(&at, headers[i].value, strlen(headers[i].value) + 1);
    }
    copy->request.headers = headers;
    copy->request.subject = put(&at, request->subject, strlen(request->subject) + 1);
    copy->request.body.data = put(&at, request->body.data, request->body.len);
    return copy;
}

int64_t sluice_nats_copy_due(const struct sluice_nats_copy *copy, int64_t now_ms)
{
    int64_t due = copy->deadline_ms;
    if (copy->pause == SLUICE_NATS_HELD) {
        due = now_ms + HELD_MAX_MS;
    } else if (copy->pause == SLUICE_NATS_UNHEARD) {
        due = now_ms + copy->wait_ms;
    } else if (copy->request.again == SLUICE_NATS_IF_SILENT) {
        due = now_ms + SILENCE_MS;
    }
    return due < copy->deadline_ms ? due : copy->deadline_ms;
}

void sluice_nats_copy_wait_longer(struct sluice_nats_copy *copy)
{
    copy->wait_ms = copy->wait_ms * 2 < WAIT_MAX_MS ? copy->wait_ms * 2 : WAIT_MAX_MS;
}
