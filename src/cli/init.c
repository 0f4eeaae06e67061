/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice init`: make and mend what a worker needs on the NATS server. */
#include "cli/command.h"

#include "cli/arguments.h"
#include "run/loader.h"
#include "run/nats_target.h"
#include "run/state.h"
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: sluice init [--check] [--json] [--config worker.yaml] [--context NAME] [OPTIONS]\n\n"
    "Makes the streams, the consumer and the journal bucket that a worker needs, and brings those "
    "that exist in\n"
    "line where that can be done in place. Run it before the worker's first start and after a "
    "change of settings.\n\n"
    "  --check          alter nothing; exit 3 when something is missing or different\n"
    "  --json           one JSON object a line; when all is well the last says so with the verb "
    "done\n"
    "  --config FILE    the worker's settings\n"
    "  --context NAME   a context of the `nats` command\n\n"
    "Exit codes: 0 all is as it should be; 2 settings; 3 the server, the plug-in, or a difference "
    "that cannot be mended.\n"
    "The worker's settings can be given as flags too; `sluice run --help` lists them.\n";

struct init {
    int is_json;
    unsigned told;
};

static void print_json(const char *verb, const char *what)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(json, "verb", verb);
    (void)cJSON_AddStringToObject(json, "what", what);
    char *text = cJSON_PrintUnformatted(json);
    puts(text == NULL ? "{}" : text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static void on_told(void *ctx, const char *verb, const char *what)
{
    struct init *init = ctx;
    init->told++;
    if (init->is_json) {
        print_json(verb, what);
    } else {
        printf("%-8s %s\n", verb, what);
    }
}

/* The consumer is named by SLUICE_DURABLE, else after the worker. */
static sluice_rc find_consumer(const struct sluice_settings *s, char *out, size_t size,
                               struct sluice_err *err)
{
    static struct sluice_plugin plugin;
    const char *name = s->durable;
    if (name[0] == '\0' && s->worker[0] == '\0') {
        return sluice_err_set(
            err, SLUICE_ERR_CONFIG,
            "which consumer? Set SLUICE_DURABLE, or SLUICE_WORKER to name it after");
    }
    if (name[0] == '\0') {
        sluice_rc rc = sluice_plugin_load(s->worker, s->worker_dir, &plugin, err);
        if (rc != SLUICE_OK) {
            return rc;
        }
        name = plugin.worker.name;
    }
    (void)snprintf(out, size, "%s", name);
    return SLUICE_OK;
}

static sluice_rc provision(const struct sluice_settings *s, int mode, struct init *init,
                           struct sluice_err *err)
{
    char consumer[80];
    struct sluice_nats_target target;
    struct sluice_nats_facts facts;
    sluice_rc rc = find_consumer(s, consumer, sizeof consumer, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    rc = sluice_nats_target_init(&target, s, "init", err);
    if (rc == SLUICE_OK) {
        struct sluice_nats_plan plan = sluice_nats_plan_of(s, consumer);
        rc = sluice_nats_provision(&target.options, &plan, mode, on_told, init, &facts, err);
        /* A wrong setting of ours is told apart from a difference on the server. */
        rc = rc == SLUICE_ERR_CONFIG ? SLUICE_ERR_VALIDATION : rc;
    }
    sluice_nats_target_fini(&target);
    return rc;
}

static int run(int argc, char **argv)
{
    struct init init = {0};
    struct sluice_err err = {0};
    struct sluice_settings_box *box = NULL;
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    int mode = arguments_flag(&argc, argv, "--check") ? SLUICE_NATS_VERIFY : SLUICE_NATS_UPDATE;
    init.is_json = arguments_flag(&argc, argv, "--json");
    int code = arguments_settings("init", argc, argv, &box);
    if (code != 0) {
        return code;
    }
    sluice_rc rc = provision(sluice_settings_of(box), mode, &init, &err);
    sluice_settings_free(box);
    if (rc == SLUICE_OK) {
        if (init.is_json) {
            print_json("done", "all is as it should be");
        } else {
            puts(init.told == 0 ? "all is as it should be" : "done");
        }
        return 0;
    }
    fprintf(stderr, "sluice init: %s\n", err.text);
    return rc == SLUICE_ERR_CONFIG ? SLUICE_EXIT_CONFIG : SLUICE_EXIT_INIT;
}

extern const struct sluice_command sluice_command_init;
const struct sluice_command sluice_command_init = {
    "init", "make and mend streams, consumer and journal bucket", run};
