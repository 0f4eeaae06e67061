/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice run` and `sluice check`. */
#include "cli/command.h"

#include "cli/arguments.h"
#include "codec/redact.h"
#include "run/boot.h"
#include "run/loader.h"
#include "run/log.h"
#include "run/nats_target.h"
#include "run/prompts.h"
#include "run/state.h"
#include "run/worker_config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void help(FILE *out, const char *usage)
{
    fprintf(
        out,
        "usage: sluice %s [--config worker.yaml] [OPTIONS]\n\n"
        "Settings come from flags, environment variables, the file and defaults, in this order.\n"
        "Secrets are taken from the environment or a file (NAME_FILE), never from flags.\n\n",
        usage);
    sluice_options_print_flags(out);
}

static int32_t level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int32_t level = SLUICE_LOG_DEBUG;
    while (level < SLUICE_LOG_ERROR && strcmp(names[level], name) != 0) {
        level++;
    }
    return level;
}

/* What the worker's description asks of the configuration and misses of its prompts goes into the
 * report, which has the
 * other errors already. NULL without a worker, or when it cannot be loaded: `err` says why. */
static struct sluice_config *worker_look(const struct sluice_settings *s,
                                         struct sluice_report *report,
                                         struct sluice_report *warnings, struct sluice_err *err)
{
    static struct sluice_plugin plugin;
    if (s->worker[0] == '\0') {
        if (s->own_count > 0) {
            sluice_report_add(report, &s->own[0].place, "without SLUICE_WORKER no option is known");
        }
        return NULL;
    }
    if (sluice_plugin_load(s->worker, s->worker_dir, &plugin, err) != SLUICE_OK) {
        return NULL;
    }
    sluice_prompts_check(s, &plugin, report, warnings);
    return sluice_worker_config_create(s, &plugin.worker, report);
}

/* Most of what is wrong has been said of the single settings, and would be said twice. */
static void look_at_nats(const struct sluice_settings *s, struct sluice_report *report)
{
    if (report->count == 0) {
        sluice_nats_target_check(s, report);
    }
}

static void log_prepare(const struct sluice_settings *s)
{
    sluice_log_open(level_of(s->log_level), strcmp(s->log_format, "json") == 0, s->log_emoji);
    sluice_log_redact(s->llm_api_key);
    sluice_log_redact(s->nats_password);
    sluice_log_redact(s->nats_token);
    sluice_log_redact(s->mongodb_uri);
    sluice_redact_find(s->mongodb_uri, sluice_log_redact);
    sluice_redact_find(s->nats_url, sluice_log_redact);
    sluice_redact_find(s->llm_base_url, sluice_log_redact);
    sluice_llm_header_secrets(s, sluice_log_redact);
    for (uint32_t i = 0; i < s->services_count; i++) {
        sluice_log_redact(s->services[i].token);
        sluice_redact_find(s->services[i].url, sluice_log_redact);
    }
}

static int run(int argc, char **argv)
{
    if (arguments_flag(&argc, argv, "--help")) {
        help(stdout, "run");
        return 0;
    }
    const char *file = arguments_value(&argc, argv, "--config");
    struct sluice_settings_box *box = NULL;
    static struct sluice_report report, prompts;
    if (!arguments_are_whole()) {
        return SLUICE_EXIT_CONFIG;
    }
    struct sluice_err unloadable = {.rc =
                                        SLUICE_OK}; /* alone, the boot says so, with exit code 3 */
    if (sluice_settings_load(argc - 1, argv + 1, file, &box, &report) != SLUICE_ERR_NOMEM) {
        look_at_nats(sluice_settings_of(box), &report);
        if (sluice_settings_of(box)->worker[0] == '\0') {
            sluice_report_add(&report, &(struct sluice_place){.option = "SLUICE_WORKER"},
                              "not set, expected a plug-in");
        }
        sluice_worker_config_free(
            worker_look(sluice_settings_of(box), &report, &prompts, &unloadable));
    }
    int code;
    if (report.count > 0 && unloadable.rc != SLUICE_OK) {
        sluice_report_add(&report, NULL, "%s", unloadable.text);
    }
    if (report.count > 0) {
        code = arguments_refuse("run", box, &report);
    } else {
        log_prepare(sluice_settings_of(box));
        sluice_settings_variables_check(&report);
        sluice_report_log_warnings(&report, "config.unknown_variable");
        sluice_report_log_warnings(&prompts, "config.prompt_field");
        code = sluice_worker_run(sluice_settings_of(box));
    }
    sluice_settings_free(box);
    return code;
}

static int check(int argc, char **argv)
{
    static const struct {
        const char *flag;
        void (*print)(FILE *out);
    } forms[] = {{"--example", sluice_options_print_example},
                 {"--reference", sluice_options_print_reference},
                 {"--schema", sluice_options_print_schema}};
    if (arguments_flag(&argc, argv, "--help")) {
        help(stdout, "check [--json|--example|--reference|--schema]");
        return 0;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (arguments_flag(&argc, argv, forms[i].flag)) {
            if (argc > 1) {
                arguments_wrong(argv, argv[1], "expected nothing beside %s", forms[i].flag);
            }
            if (!arguments_are_whole()) {
                return SLUICE_EXIT_CONFIG;
            }
            forms[i].print(stdout);
            return 0;
        }
    }
    int as_json = arguments_flag(&argc, argv, "--json");
    const char *file = arguments_value(&argc, argv, "--config");
    struct sluice_settings_box *box = NULL;
    struct sluice_config *own = NULL;
    static struct sluice_report report, warnings;
    struct sluice_err err = {.rc = SLUICE_OK};
    if (!arguments_are_whole()) {
        return SLUICE_EXIT_CONFIG;
    }
    if (sluice_settings_load(argc - 1, argv + 1, file, &box, &report) != SLUICE_ERR_NOMEM) {
        look_at_nats(sluice_settings_of(box), &report);
        own = worker_look(sluice_settings_of(box), &report, &warnings, &err);
    }
    if (err.rc != SLUICE_OK) {
        sluice_report_add(&report, NULL, "%s", err.text);
    }
    int code = 0;
    if (report.count > 0) {
        code = arguments_refuse("check", box, &report);
    } else {
        sluice_settings_variables_check(&warnings);
        sluice_settings_print(box, own, &warnings, stdout, as_json);
        if (!as_json) {
            arguments_warn("check", &warnings);
        }
    }
    sluice_worker_config_free(own);
    sluice_settings_free(box);
    return code;
}

const struct sluice_command sluice_command_run = {"run", "run a worker", run};
const struct sluice_command sluice_command_check = {
    "check", "show the effective settings, without connecting", check};
