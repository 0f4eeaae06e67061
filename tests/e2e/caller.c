/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that calls a service, with options of its own, and publishes to a second output. */
#include "context.pb-c.h"
#include <sluice/worker.h>
#include <stdlib.h>
#include <string.h>

static const char *path, *secret, *service;
static int64_t copies;

static sluice_rc create(const sluice_host *host, const sluice_config *config, void **self)
{
    path = host->option_text(config, "path");
    secret = host->option_text(config, "secret");
    service = host->option_text(config, "service");
    copies = host->option_number(config, "copies");
    if (strcmp(secret, "refused") == 0) {
        return SLUICE_ERR_AUTH;
    }
    *self = &copies;
    return path != NULL && secret != NULL && host->option_text(config, "copies") == NULL
               ? SLUICE_OK
               : SLUICE_RETRY;
}

static void destroy(void *self)
{
    if (self != &copies) {
        abort(); /* what was never created */
    }
}

static sluice_rc call(sluice_turn *t, const sluice_msg *in)
{
    const Context__V1__ContextEnrichRequest *req;
    const sluice_http_reply *reply;
    SLUICE_TRY(sluice_decode(t, in, context__v1__context_enrich_request, &req));
    sluice_http_request ask = {.path = sluice_format(t, "%s/%s", path, req->request_id)};
    ask.body.data = req->query;
    for (ask.body.len = 0; req->query[ask.body.len] != '\0'; ask.body.len++) {
    }
    const char *name = strstr(req->query, "OTHER") != NULL ? "other" : service;
    SLUICE_TRY(sluice_http(t, name, &ask, &reply));
    Context__V1__ContextPack pack = CONTEXT__V1__CONTEXT_PACK__INIT;
    pack.request_id = req->request_id;
    pack.summary = sluice_format(t, "%.*s", (int)reply->body.len, (const char *)reply->body.data);
    pack.model = sluice_format(t, "%d %s", (int)copies, secret);
    SLUICE_TRY(sluice_store(t, "context_packs", &pack.base));
    SLUICE_TRY(sluice_publish(t, "ready", &pack.base));
    return sluice_publish(t, "audit", &pack.base);
}

static const char *const outputs[] = {"ready", "audit", NULL};
static const char *const services[] = {"crm", NULL};
static const sluice_option options[] = {
    {.key = "path", .kind = SLUICE_OPTION_TEXT, .required = 1, .help = "path of the service"},
    {.key = "copies", .kind = SLUICE_OPTION_NUMBER, .default_value = "2", .min = 1, .max = 9},
    {.key = "service", .kind = SLUICE_OPTION_TEXT, .default_value = "crm"},
    {.key = "secret", .kind = SLUICE_OPTION_SECRET, .default_value = ""},
    {.key = NULL}};

SLUICE_WORKER(.name = "caller", .version = "1.0",
              .input = &context__v1__context_enrich_request__descriptor, .key_field = "request_id",
              .on_message = call, .require = SLUICE_REQUIRE_DOCUMENT | SLUICE_REQUIRE_OUTPUT,
              .outputs = outputs, .services = services, .options = options, .create = create,
              .destroy = destroy);
