/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP services of the configuration: their clients, and whether they answer. */
#include "port/clock.h"
#include "run/boot_state.h"

#include "run/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define HEALTH_TIMEOUT_MS 5000 /* SVC-56 */

_Static_assert(SLUICE_SERVICES_MAX == SLUICE_DEPENDENCIES_MAX - SLUICE_DEP_SERVICES,
               "a breaker for each service");
_Static_assert(SLUICE_SERVICES_MAX <= HOST_SERVICES_MAX, "a place in the host for each");

/* The service's client, and what a call of it needs, its credential among the headers. */
static sluice_rc service_open(struct boot *b, uint32_t i)
{
    const struct sluice_service *from = &b->settings->services[i];
    const char *scheme = strcasecmp(from->auth_header, "Authorization") == 0 ? "Bearer " : "";
    size_t size = strlen(scheme) + strlen(from->token) + 1;
    if ((b->credentials[i] = calloc(1, size)) == NULL) {
        return sluice_err_set(&b->err, SLUICE_ERR_NOMEM, "service %s: no memory", from->name);
    }
    (void)snprintf(b->credentials[i], size, "%s%s", scheme, from->token);
    b->service_headers[i] = (sluice_header){from->auth_header, b->credentials[i]};
    b->services[i] = (struct host_service){.name = from->name,
                                           .base_url = from->url,
                                           .timeout_ms = (uint32_t)from->timeout_ms,
                                           .answer_size_max = (size_t)from->answer_size_max,
                                           .headers = &b->service_headers[i],
                                           .headers_count = from->token[0] != '\0'};
    struct sluice_curl_http_options http = {.loop = &b->loop,
                                            .allocator = &b->allocator,
                                            .connections_max = (uint32_t)from->connections,
                                            .ca_file = from->ca};
    return sluice_curl_http_create(&http, &b->http[i], &b->err);
}

sluice_rc boot_services_open(struct boot *b)
{
    sluice_rc rc = SLUICE_OK;
    for (uint32_t i = 0; rc == SLUICE_OK && i < b->settings->services_count; i++) {
        rc = service_open(b, i);
    }
    return rc;
}

/* ---- Is it there? ---- */

struct health {
    int is_done, is_there;
    sluice_rc rc;
    char url[2048];
    char text[SLUICE_ERR_TEXT_SIZE];
};

/* A service without such a path answers 404: it is there all the same. */
static void on_health(void *ctx, const struct sluice_http_done *done)
{
    struct health *h = ctx;
    int status = done->http_status;
    h->is_done = 1;
    h->is_there = status != 0 && (status < 502 || status > 504);
    h->rc = done->rc;
    (void)snprintf(h->text, sizeof h->text, "%s", done->text == NULL ? "" : done->text);
}

static void health_ask(struct boot *b, uint32_t i, struct health *h)
{
    const struct sluice_service *service = &b->settings->services[i];
    size_t len = strlen(service->url);
    len -= len > 0 && service->url[len - 1] == '/';
    *h = (struct health){.rc = SLUICE_ERR_TIMEOUT};
    (void)snprintf(h->url, sizeof h->url, "%.*s%s", (int)len, service->url, service->health_path);
    struct sluice_http_call call = {.method = "GET",
                                    .url = h->url,
                                    .headers = b->services[i].headers,
                                    .headers_count = b->services[i].headers_count,
                                    .timeout_ms = HEALTH_TIMEOUT_MS,
                                    .answer_size_max = b->services[i].answer_size_max};
    if (b->http[i]->ops->call(b->http[i], &call, on_health, h) == 0) {
        on_health(h, &(struct sluice_http_done){.rc = SLUICE_ERR_NOMEM, .text = "out of memory"});
    }
}

/* All at once, so that the slowest one decides how long it takes. */
sluice_rc boot_services_check(struct boot *b)
{
    static struct health health[SLUICE_SERVICES_MAX]; /* a late answer finds its place */
    const struct sluice_settings *s = b->settings;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < s->services_count; i++) {
        health_ask(b, i, &health[i]);
    }
    for (uint32_t i = 0; i < s->services_count; i++) {
        const struct health *h = &health[i];
        int64_t end = sluice_mono_ms() + 2 * HEALTH_TIMEOUT_MS;
        while (!h->is_done && sluice_mono_ms() < end) {
            (void)uv_run(&b->loop, UV_RUN_NOWAIT);
            struct timespec pause = {0, 500000};
            (void)nanosleep(&pause, NULL);
        }
        if (h->is_there) {
            continue;
        }
        SLUICE_LOG(s->services[i].required ? SLUICE_LOG_ERROR : SLUICE_LOG_WARN, WARN,
                   "service.unreachable", h->text, SLUICE_F_TEXT("service", s->services[i].name),
                   SLUICE_F_TEXT("error", sluice_status_name(h->rc)));
        if (s->services[i].required && missing++ == 0) {
            (void)sluice_err_set(&b->err, SLUICE_ERR_UNAVAILABLE,
                                 "service %s does not answer at %s: %s", s->services[i].name,
                                 s->services[i].health_path, h->text);
        }
    }
    return missing == 0 ? SLUICE_OK : SLUICE_ERR_UNAVAILABLE;
}
