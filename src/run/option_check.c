/* SPDX-License-Identifier: Apache-2.0 */
/* What no single value shows: settings that contradict each other, files that cannot be right.
 */
#include "run/option_box.h"

#include "adapter/nats_context.h"
#include "adapter/nats_files.h"
#include "codec/header.h"
#include <stdio.h>
#include <string.h>

static size_t row_of(const char *variable)
{
    size_t i = 0;
    while (strcmp(sluice_option_rows[i].env, variable) != 0) {
        i++;
    }
    return i;
}

static struct sluice_place place_of(const struct sluice_settings_box *box, const char *variable)
{
    size_t i = row_of(variable);
    return option_place(box, sluice_option_rows[i].key, box->layers[i], box->at[i], variable);
}

SLUICE_PRINTF(4, 5)
static void complain(const struct sluice_settings_box *box, struct sluice_report *report,
                     const char *variable, const char *format, ...)
{
    struct sluice_place place = place_of(box, variable);
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sluice_report_add(report, &place, "%s", text);
}

static void times_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    struct sluice_settings *s = &box->settings;
    if (s->stall_limit_ms * 3 >= s->ack_wait_ms) {
        if (box->layers[ROW_stall_limit_ms] != LAYER_DEFAULT) {
            complain(box, report, "SLUICE_STALL_LIMIT",
                     "%g s, expected less than a third of SLUICE_ACK_WAIT (%g s)",
                     (double)s->stall_limit_ms / 1000, (double)s->ack_wait_ms / 1000);
        } else {
            s->stall_limit_ms = s->ack_wait_ms / 4; /* a default follows the shorter ack wait */
        }
    }
    if (s->nak_delay_ms > s->nak_delay_max_ms) {
        complain(box, report, "SLUICE_NAK_DELAY",
                 "%g s, expected at most SLUICE_NAK_DELAY_MAX (%g s)",
                 (double)s->nak_delay_ms / 1000, (double)s->nak_delay_max_ms / 1000);
    }
}

void option_own_customer_check(const struct sluice_settings *s, const char *subject,
                               const struct option_source *source)
{
    if (sluice_subject_matches(s->subject_request, subject)) {
        sluice_report_add(source->report, &source->place,
                          "\"%s\", expected a subject that SLUICE_SUBJECT_REQUEST (\"%s\") does "
                          "not take: a worker must not be its own customer",
                          subject, s->subject_request);
    }
}

static void subjects_check(const struct sluice_settings_box *box, struct sluice_report *report)
{
    const struct sluice_settings *s = &box->settings;
    struct option_source ready = {place_of(box, "SLUICE_SUBJECT_READY"), report};
    struct option_source dead = {place_of(box, "SLUICE_SUBJECT_DEAD"), report};
    option_own_customer_check(s, s->subject_ready, &ready);
    option_own_customer_check(s, s->subject_dead, &dead);
    if (strcmp(s->subject_dead, s->subject_ready) == 0) {
        complain(box, report, "SLUICE_SUBJECT_DEAD",
                 "\"%s\", expected another subject than SLUICE_SUBJECT_READY", s->subject_dead);
    }
}

/* One stream for two of them would be set up twice, each time as the other must not be. */
static void streams_check(const struct sluice_settings_box *box, struct sluice_report *report)
{
    const struct sluice_settings *s = &box->settings;
    if (strcmp(s->stream_ready, s->stream_requests) == 0) {
        complain(box, report, "SLUICE_STREAM_READY",
                 "\"%s\", expected another stream than SLUICE_STREAM_REQUESTS", s->stream_ready);
    }
    if (strcmp(s->stream_dead, s->stream_requests) == 0 ||
        strcmp(s->stream_dead, s->stream_ready) == 0) {
        complain(box, report, "SLUICE_STREAM_DEAD",
                 "\"%s\", expected another stream than SLUICE_STREAM_REQUESTS and "
                 "SLUICE_STREAM_READY",
                 s->stream_dead);
    }
}

static void file_check(const struct sluice_settings_box *box, const char *variable,
                       enum sluice_nats_file file, const char *path, struct sluice_report *report)
{
    struct sluice_err err = {.rc = SLUICE_OK};
    if (path[0] != '\0' && sluice_nats_file_check(file, path, &err) != SLUICE_OK) {
        complain(box, report, variable, "%s", err.text);
    }
}

static void context_check(const struct sluice_settings_box *box, const char *name,
                          struct sluice_report *report)
{
    struct sluice_nats_context *context = NULL;
    struct sluice_err err = {.rc = SLUICE_OK};
    if (sluice_nats_context_load(name, &context, &err) != SLUICE_OK) {
        complain(box, report, "NATS_CONTEXT", "%s", err.text);
    }
    sluice_nats_context_free(context);
}

/* Two logins for one door, of which only one would be used. `url` is the URL's variable, `other`
 * that of what stands beside it; `shown` is its name as it is told. */
static void login_check(const struct sluice_settings_box *box, struct sluice_report *report,
                        const char *url, const char *other, const char *shown)
{
    size_t row = row_of(other);
    const char *text = box->texts[row];
    if (text == NULL || text[0] == '\0') {
        return;
    }
    char where[400];
    const char *key = sluice_option_rows[row].key;
    if (box->layers[row] == LAYER_FILE) {
        (void)snprintf(where, sizeof where, "%s (%.300s:%u:%u)", key, box->file, box->at[row].line,
                       box->at[row].column);
    } else if (box->layers[row] == LAYER_ENVIRONMENT) {
        (void)snprintf(where, sizeof where, "%s of the environment", shown);
    } else {
        (void)snprintf(where, sizeof where, "--%s", key);
        for (char *c = where; *c != '\0'; c++) {
            *c = (char)(*c == '.' || *c == '_' ? '-' : *c);
        }
    }
    complain(box, report, url, "a login stands in it beside %s, expected one of them", where);
}

static void logins_check(const struct sluice_settings_box *box, struct sluice_report *report)
{
    static const char *const nats[] = {"NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_NKEY",
                                       "NATS_CREDS"};
    const struct sluice_settings *s = &box->settings;
    for (size_t i = 0; strchr(s->nats_url, '@') != NULL && i < sizeof nats / sizeof nats[0]; i++) {
        login_check(box, report, "NATS_URL", nats[i], nats[i]);
    }
    if (option_url_has_login(s->llm_base_url)) {
        login_check(box, report, "LLM_BASE_URL", "LLM_API_KEY", "LLM_API_KEY or OPENAI_API_KEY");
    }
}

static void nats_check(const struct sluice_settings_box *box, struct sluice_report *report)
{
    const struct sluice_settings *s = &box->settings;
    file_check(box, "NATS_CREDS", SLUICE_NATS_FILE_CREDS, s->nats_creds, report);
    file_check(box, "NATS_NKEY", SLUICE_NATS_FILE_NKEY, s->nats_nkey, report);
    file_check(box, "NATS_CA", SLUICE_NATS_FILE_CA, s->nats_ca, report);
    file_check(box, "NATS_CERT", SLUICE_NATS_FILE_CERT, s->nats_cert, report);
    file_check(box, "NATS_KEY", SLUICE_NATS_FILE_KEY, s->nats_key, report);
    if (s->nats_context[0] != '\0') { /* may bring the other one of what follows */
        context_check(box, s->nats_context, report);
        return;
    }
    if ((s->nats_cert[0] == '\0') != (s->nats_key[0] == '\0')) {
        int is_cert = s->nats_cert[0] != '\0';
        complain(box, report, is_cert ? "NATS_KEY" : "NATS_CERT", "not set, expected with %s",
                 is_cert ? "NATS_CERT" : "NATS_KEY");
    }
    if (s->nats_password[0] != '\0' && s->nats_user[0] == '\0' &&
        strchr(s->nats_url, '@') == NULL) {
        complain(box, report, "NATS_PASSWORD", "set alone, expected with NATS_USER");
    }
    int ways = (s->nats_user[0] != '\0') + (s->nats_token[0] != '\0') + (s->nats_nkey[0] != '\0') +
               (s->nats_creds[0] != '\0');
    if (ways > 1) {
        sluice_report_add(report, NULL,
                          "expected one of NATS_USER, NATS_TOKEN, NATS_NKEY and NATS_CREDS, not %d",
                          ways);
    }
}

static void store_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    struct sluice_settings *s = &box->settings;
    if (s->store[0] == '\0') {
        s->store = s->mongodb_uri[0] != '\0' ? "mongodb" : "sqlite";
    }
    if (strcmp(s->store, "mongodb") == 0 && s->mongodb_uri[0] == '\0' &&
        !box->refused[ROW_mongodb_uri]) {
        complain(box, report, "MONGODB_URI", "not set, expected with SLUICE_STORE=mongodb");
    }
}

void option_settings_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    times_check(box, report);
    subjects_check(box, report);
    streams_check(box, report);
    logins_check(box, report);
    nats_check(box, report);
    store_check(box, report);
}
