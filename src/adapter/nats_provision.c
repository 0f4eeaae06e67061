/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_provision.h"

#include "adapter/nats_inspect.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define PENDING_MIN 1000.0 /* max_ack_pending: delayed NAKs keep their place in it */
#define WAITING_MIN 8.0    /* max_waiting: pulls of two processes */
#define KV_WINDOW_MS                                                                               \
    120000 /* duplicate window of a key-value bucket, as the NATS clients make it */
#define SIZE_MAX_SAID  INT32_MAX      /* sizes of messages: servers count them in 32 bits */
#define COUNT_MAX_SAID (1LL << 53)    /* what a number of JSON counts one by one */
#define JOURNAL_ENTRY  (320.0 * 1024) /* a chunk of a journaled answer and its headers */

/* A number as the server says it, from 0 to `max`. */
static int64_t whole(double said, int64_t max)
{
    if (!(said >= 1)) {
        return 0;
    }
    return said >= (double)max ? max : (int64_t)said;
}

/* ---- Streams ---- */

/* Does `pattern` take everything that `subject` stands for? */
static int covers(const char *pattern, const char *subject)
{
    while (*pattern != '\0' && *subject != '\0') {
        size_t p = strcspn(pattern, "."), s = strcspn(subject, ".");
        if (p == 1 && pattern[0] == '>') {
            return 1;
        }
        int is_any = p == 1 && pattern[0] == '*' && !(s == 1 && subject[0] == '>');
        if (!is_any && (p != s || memcmp(pattern, subject, p) != 0)) {
            return 0;
        }
        pattern += p + (pattern[p] == '.');
        subject += s + (subject[s] == '.');
    }
    return *pattern == '\0' && *subject == '\0';
}

static void expect_subject(struct sluice_nats_object *o, const char *subject)
{
    cJSON *subjects = cJSON_GetObjectItemCaseSensitive(o->config, "subjects");
    const cJSON *item;
    cJSON_ArrayForEach(item, subjects)
    {
        if (cJSON_IsString(item) && covers(item->valuestring, subject)) {
            return;
        }
    }
    if (o->p->mode == SLUICE_NATS_UPDATE && cJSON_IsArray(subjects)) {
        cJSON_AddItemToArray(subjects, cJSON_CreateString(subject));
        o->is_changed = 1;
        return;
    }
    char expected[320];
    (void)snprintf(expected, sizeof expected, "one that takes %s", subject);
    sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "subjects", expected);
}

static cJSON *stream_config(const char *name, const char *subject, const char *below)
{
    cJSON *config = cJSON_CreateObject();
    cJSON *subjects = cJSON_AddArrayToObject(config, "subjects");
    cJSON_AddStringToObject(config, "name", name);
    cJSON_AddItemToArray(subjects, cJSON_CreateString(subject));
    if (below != NULL) {
        cJSON_AddItemToArray(subjects, cJSON_CreateString(below));
    }
    cJSON_AddStringToObject(config, "storage", "file");
    cJSON_AddStringToObject(config, "retention", "limits");
    cJSON_AddNumberToObject(config, "num_replicas", 1);
    cJSON_AddNumberToObject(config, "duplicate_window",
                            SLUICE_DUPLICATE_WINDOW_MS * SLUICE_NATS_MS);
    return config;
}

static sluice_rc inspect_stream(struct sluice_nats_provision *p, const char *name, cJSON *wanted,
                                sluice_nats_checks_fn *checks)
{
    struct sluice_nats_operations operations;
    struct sluice_nats_object o = {.p = p, .kind = "stream", .name = name};
    (void)snprintf(operations.look, sizeof operations.look, "STREAM.INFO.%s", name);
    (void)snprintf(operations.make, sizeof operations.make, "STREAM.CREATE.%s", name);
    (void)snprintf(operations.update, sizeof operations.update, "STREAM.UPDATE.%s", name);
    sluice_rc rc = sluice_nats_inspect(&o, &operations, wanted, checks);
    cJSON_Delete(wanted);
    return rc;
}

static void check_any_stream(struct sluice_nats_object *o)
{
    sluice_nats_expect_off(o, "sealed");
    sluice_nats_expect_off(o, "no_ack"); /* there would be no PubAck */
    sluice_nats_expect_text(o, SLUICE_NATS_NOTE, "storage", "file");
}

static void check_window(struct sluice_nats_object *o)
{
    double wanted = SLUICE_DUPLICATE_WINDOW_MS * SLUICE_NATS_MS;
    if (sluice_nats_number_of(o, "duplicate_window") < wanted &&
        !sluice_nats_may_fix(o, "duplicate_window", cJSON_CreateNumber(wanted))) {
        sluice_nats_field_differs(o, SLUICE_NATS_NOTE, "duplicate_window", "at least 600 s");
    }
}

static void check_requests(struct sluice_nats_object *o, const cJSON *info)
{
    (void)info;
    struct sluice_nats_provision *p = o->p;
    double room = (double)(p->facts->payload_max - SLUICE_DEAD_LETTER_ROOM);
    char expected[64];
    check_any_stream(o);
    check_window(o);
    expect_subject(o, p->plan->subject_request);
    sluice_nats_expect_text(o, SLUICE_NATS_NOTE, "retention", "workqueue");
    double size = sluice_nats_number_of(o, "max_msg_size");
    if ((size <= 0 || size > room) &&
        !sluice_nats_may_fix(o, "max_msg_size", cJSON_CreateNumber(room))) {
        (void)snprintf(expected, sizeof expected, "at most %.0f, so that a dead letter fits", room);
        sluice_nats_field_differs(o, SLUICE_NATS_NOTE, "max_msg_size", expected);
    }
    int64_t most = whole(sluice_nats_number_of(o, "max_msg_size"), SIZE_MAX_SAID);
    p->facts->message_size_max = most > 0 ? most : p->facts->payload_max;
}

static void check_ready(struct sluice_nats_object *o, const cJSON *info)
{
    (void)info;
    check_any_stream(o);
    check_window(o);
    expect_subject(o, o->p->plan->subject_ready);
}

static void check_dead(struct sluice_nats_object *o, const cJSON *info)
{
    (void)info;
    char expected[64];
    check_any_stream(o);
    check_window(o);
    expect_subject(o, o->p->plan->subject_dead);
    if (strcmp(sluice_nats_text_of(o, "retention"), "interest") == 0) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "retention",
                                  "\"limits\": nobody may be listening when a message is buried");
    }
    double least = (double)(o->p->facts->message_size_max + SLUICE_DEAD_LETTER_ROOM);
    (void)snprintf(expected, sizeof expected, "none, or at least %.0f, so that a dead letter fits",
                   least);
    sluice_nats_expect_room(o, SLUICE_NATS_DIFFERENCE, "max_msg_size", least, expected);
}

static void check_journal(struct sluice_nats_object *o, const cJSON *info)
{
    char subject[160], expected[64];
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(info, "state");
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(state, "messages");
    double ttl = (double)o->p->plan->journal_ttl_ms * SLUICE_NATS_MS;
    o->p->facts->journal_messages =
        cJSON_IsNumber(messages) ? (uint64_t)whole(messages->valuedouble, COUNT_MAX_SAID) : 0;
    (void)snprintf(subject, sizeof subject, "$KV.%s.>", o->p->plan->bucket);
    check_any_stream(o);
    expect_subject(o, subject);
    sluice_nats_expect_text(o, SLUICE_NATS_DIFFERENCE, "retention", "limits");
    sluice_nats_expect_number(o, SLUICE_NATS_DIFFERENCE, "max_msgs_per_subject", 1, "1 (history)");
    (void)snprintf(expected, sizeof expected, "%.15g s (SLUICE_JOURNAL_TTL)",
                   ttl / (1000 * SLUICE_NATS_MS));
    sluice_nats_expect_number(o, SLUICE_NATS_NOTE, "max_age", ttl, expected);
    sluice_nats_expect_room(o, SLUICE_NATS_DIFFERENCE, "max_msg_size", JOURNAL_ENTRY,
                            "none, or at least 327680");
}

static cJSON *journal_config(const struct sluice_nats_provision *p, const char *name)
{
    char subject[160];
    int64_t window =
        p->plan->journal_ttl_ms < KV_WINDOW_MS ? p->plan->journal_ttl_ms : KV_WINDOW_MS;
    (void)snprintf(subject, sizeof subject, "$KV.%s.>", p->plan->bucket);
    cJSON *config = stream_config(name, subject, NULL);
    sluice_nats_put(config, "duplicate_window",
                    cJSON_CreateNumber((double)window * SLUICE_NATS_MS));
    cJSON_AddNumberToObject(config, "max_msgs_per_subject", 1);
    cJSON_AddNumberToObject(config, "max_age", (double)p->plan->journal_ttl_ms * SLUICE_NATS_MS);
    cJSON_AddStringToObject(config, "discard", "new");
    cJSON_AddBoolToObject(config, "allow_rollup_hdrs", 1);
    cJSON_AddBoolToObject(config, "deny_delete", 1);
    cJSON_AddBoolToObject(config, "allow_direct", 1);
    return config;
}

static sluice_rc inspect_streams(struct sluice_nats_provision *p)
{
    const struct sluice_nats_plan *plan = p->plan;
    char below[320], bucket[96];
    sluice_rc rc;
    cJSON *wanted = stream_config(plan->stream_requests, plan->subject_request, NULL);
    sluice_nats_put(wanted, "retention", cJSON_CreateString("workqueue"));
    sluice_nats_put(wanted, "max_msg_size",
                    cJSON_CreateNumber((double)(p->facts->payload_max - SLUICE_DEAD_LETTER_ROOM)));
    if ((rc = inspect_stream(p, plan->stream_requests, wanted, check_requests)) != SLUICE_OK) {
        return rc;
    }
    (void)snprintf(below, sizeof below, "%s.>", plan->subject_ready);
    wanted = stream_config(plan->stream_ready, plan->subject_ready, below);
    if ((rc = inspect_stream(p, plan->stream_ready, wanted, check_ready)) != SLUICE_OK) {
        return rc;
    }
    wanted = stream_config(plan->stream_dead, plan->subject_dead, NULL);
    if ((rc = inspect_stream(p, plan->stream_dead, wanted, check_dead)) != SLUICE_OK ||
        plan->bucket == NULL) {
        return rc;
    }
    (void)snprintf(bucket, sizeof bucket, "KV_%s", plan->bucket);
    return inspect_stream(p, bucket, journal_config(p, bucket), check_journal);
}

/* A publish that no stream takes is never acknowledged: better known at boot than at each message.
 */
static sluice_rc inspect_output(struct sluice_nats_provision *p, const char *subject)
{
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "subject", subject);
    cJSON *answer = NULL;
    sluice_rc rc = sluice_nats_api_call(p->api, "STREAM.NAMES", request, &answer, p->err);
    if (rc == SLUICE_OK &&
        cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answer, "streams")) == 0) {
        char object[SLUICE_ERR_TEXT_SIZE - 32], what[SLUICE_ERR_TEXT_SIZE];
        (void)snprintf(object, sizeof object, "output subject %s", subject);
        (void)snprintf(what, sizeof what, "%s: no stream takes it", object);
        sluice_nats_differs(p, object, SLUICE_ERR_NOT_FOUND, what);
    }
    cJSON_Delete(answer);
    cJSON_Delete(request);
    return rc;
}

static sluice_rc inspect_outputs(struct sluice_nats_provision *p)
{
    sluice_rc rc = SLUICE_OK;
    for (uint32_t i = 0; i < p->plan->output_subjects_count && rc == SLUICE_OK; i++) {
        rc = inspect_output(p, p->plan->output_subjects[i]);
    }
    return rc;
}

/* ---- Consumer ---- */

static double pending_wanted(const struct sluice_nats_provision *p)
{
    double twice = 2.0 * p->plan->max_in_flight;
    return twice > PENDING_MIN ? twice : PENDING_MIN;
}

/* One filter for all requests, or none. */
static void check_filter(struct sluice_nats_object *o)
{
    const cJSON *many = cJSON_GetObjectItemCaseSensitive(o->config, "filter_subjects");
    const char *wanted = o->p->plan->subject_request;
    const char *filter = sluice_nats_text_of(o, "filter_subject");
    char expected[320];
    (void)snprintf(expected, sizeof expected, "\"%s\"", wanted);
    if (cJSON_GetArraySize(many) > 0) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "filter_subjects", "absent");
    } else if (filter[0] != '\0' && strcmp(filter, wanted) != 0) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "filter_subject", expected);
    }
}

static void check_consumer(struct sluice_nats_object *o, const cJSON *info)
{
    (void)info;
    struct sluice_nats_provision *p = o->p;
    char expected[96];
    double in_flight = p->plan->max_in_flight;
    if (cJSON_GetObjectItemCaseSensitive(o->config, "deliver_subject") != NULL) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "deliver_subject",
                                  "absent (a pull consumer)");
    }
    sluice_nats_expect_text(o, SLUICE_NATS_DIFFERENCE, "ack_policy", "explicit");
    sluice_nats_expect_text(o, SLUICE_NATS_DIFFERENCE, "replay_policy", "instant");
    sluice_nats_expect_text(o, SLUICE_NATS_NOTE, "deliver_policy", "all");
    check_filter(o);
    sluice_nats_expect_number(o, SLUICE_NATS_DIFFERENCE, "max_deliver", -1,
                              "-1 (failures are counted by the runtime)");
    if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o->config, "backoff")) > 0 &&
        !sluice_nats_may_fix(o, "backoff", NULL)) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "backoff",
                                  "absent (delays come with each NAK)");
    }
    double ack_wait = (double)p->plan->ack_wait_ms * SLUICE_NATS_MS;
    (void)snprintf(expected, sizeof expected, "%.15g s (SLUICE_ACK_WAIT)",
                   ack_wait / (1000 * SLUICE_NATS_MS));
    sluice_nats_expect_number(o, SLUICE_NATS_DIFFERENCE, "ack_wait", ack_wait, expected);
    double pending = sluice_nats_number_of(o, "max_ack_pending");
    if (pending > 0 && pending < in_flight &&
        !sluice_nats_may_fix(o, "max_ack_pending", cJSON_CreateNumber(pending_wanted(p)))) {
        (void)snprintf(expected, sizeof expected, "at least %.0f (SLUICE_MAX_IN_FLIGHT)",
                       in_flight);
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "max_ack_pending", expected);
    }
    sluice_nats_expect_number(o, SLUICE_NATS_DIFFERENCE, "inactive_threshold", 0,
                              "absent (it would delete the consumer)");
    sluice_nats_expect_off(o, "headers_only");
    sluice_nats_expect_room(o, SLUICE_NATS_DIFFERENCE, "max_waiting", WAITING_MIN, "at least 8");
    (void)snprintf(expected, sizeof expected, "none, or at least %.0f (SLUICE_MAX_IN_FLIGHT)",
                   in_flight);
    sluice_nats_expect_room(o, SLUICE_NATS_DIFFERENCE, "max_batch", in_flight, expected);
    const char *priority = sluice_nats_text_of(o, "priority_policy");
    if (priority[0] != '\0' && strcmp(priority, "none") != 0) {
        sluice_nats_field_differs(o, SLUICE_NATS_DIFFERENCE, "priority_policy", "absent");
    }
    if (cJSON_GetObjectItemCaseSensitive(o->config, "pause_until") != NULL) {
        sluice_nats_field_differs(o, SLUICE_NATS_NOTE, "pause_until",
                                  "absent: nothing is delivered until then");
    }
}

static cJSON *consumer_request(const struct sluice_nats_provision *p)
{
    const struct sluice_nats_plan *plan = p->plan;
    cJSON *request = cJSON_CreateObject();
    cJSON *config = cJSON_AddObjectToObject(request, "config");
    cJSON_AddStringToObject(request, "stream_name", plan->stream_requests);
    cJSON_AddStringToObject(config, "durable_name", plan->consumer);
    cJSON_AddStringToObject(config, "ack_policy", "explicit");
    cJSON_AddStringToObject(config, "deliver_policy", "all");
    cJSON_AddStringToObject(config, "replay_policy", "instant");
    cJSON_AddStringToObject(config, "filter_subject", plan->subject_request);
    cJSON_AddNumberToObject(config, "ack_wait", (double)plan->ack_wait_ms * SLUICE_NATS_MS);
    cJSON_AddNumberToObject(config, "max_deliver", -1);
    cJSON_AddNumberToObject(config, "max_ack_pending", pending_wanted(p));
    return request;
}

static sluice_rc inspect_consumer(struct sluice_nats_provision *p)
{
    const struct sluice_nats_plan *plan = p->plan;
    struct sluice_nats_operations operations;
    struct sluice_nats_object o = {.p = p, .kind = "consumer", .name = plan->consumer};
    (void)snprintf(operations.look, sizeof operations.look, "CONSUMER.INFO.%s.%s",
                   plan->stream_requests, plan->consumer);
    (void)snprintf(operations.make, sizeof operations.make, "CONSUMER.DURABLE.CREATE.%s.%s",
                   plan->stream_requests, plan->consumer);
    memcpy(operations.update, operations.make,
           sizeof operations.update); /* it is create-or-update */
    cJSON *request = consumer_request(p);
    sluice_rc rc = sluice_nats_inspect(&o, &operations, request, check_consumer);
    cJSON_Delete(request);
    return rc;
}

static double count_of(const cJSON *info, const char *part, const char *name)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(info, part);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(number) ? number->valuedouble : 0;
}

/* The consumer is read first: while all is well the stream can only be further on then. */
static sluice_rc mend_consumer(struct sluice_nats_provision *p)
{
    const struct sluice_nats_plan *plan = p->plan;
    char operation[SLUICE_NATS_OPERATION_SIZE], what[SLUICE_ERR_TEXT_SIZE];
    cJSON *consumer = NULL, *stream = NULL;
    (void)snprintf(operation, sizeof operation, "CONSUMER.INFO.%s.%s", plan->stream_requests,
                   plan->consumer);
    sluice_rc rc = sluice_nats_api_call(p->api, operation, NULL, &consumer, p->err);
    (void)snprintf(operation, sizeof operation, "STREAM.INFO.%s", plan->stream_requests);
    if (rc == SLUICE_OK) {
        rc = sluice_nats_api_call(p->api, operation, NULL, &stream, p->err);
    }
    double delivered = count_of(consumer, "delivered", "stream_seq");
    double last = count_of(stream, "state", "last_seq");
    cJSON_Delete(consumer);
    cJSON_Delete(stream);
    if (rc != SLUICE_OK || delivered <= last) {
        return rc;
    }
    (void)snprintf(what, sizeof what,
                   "consumer %s: has delivered up to %.0f, but stream %s ends at %.0f (the server "
                   "has lost count): nothing up to there would come",
                   plan->consumer, delivered, plan->stream_requests, last);
    if (p->mode < SLUICE_NATS_CREATE) {
        char object[SLUICE_ERR_TEXT_SIZE / 2];
        (void)snprintf(object, sizeof object, "consumer %s", plan->consumer);
        sluice_nats_differs(p, object, SLUICE_ERR_CONFIG, what);
        return SLUICE_OK;
    }
    (void)snprintf(operation, sizeof operation, "CONSUMER.DELETE.%s.%s", plan->stream_requests,
                   plan->consumer);
    rc = sluice_nats_api_call(p->api, operation, NULL, NULL, p->err);
    if (rc == SLUICE_OK || rc == SLUICE_ERR_NOT_FOUND) {
        rc = inspect_consumer(p);
    }
    if (rc == SLUICE_OK) {
        sluice_nats_tell(p, "repaired", "%s; made anew", what);
    }
    return rc;
}

/* ---- Server ---- */

static void check_version(const struct sluice_nats_provision *p)
{
    int major = 0, minor = 0, patch = 0;
    const char *version = p->facts->server_version;
    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) != 3) {
        return;
    }
    if (major < 2 || (major == 2 && minor < 9)) {
        sluice_nats_tell(p, "warning",
                         "nats-server %s: older than 2.9, which is the oldest that is tested",
                         version);
    } else if (major == 2 && minor == 10 && patch < 23) {
        sluice_nats_tell(p, "warning",
                         "nats-server %s: 2.10 before 2.10.23 can lose a stream when it is killed",
                         version);
    }
}

sluice_rc sluice_nats_provision(const struct sluice_nats_options *options,
                                const struct sluice_nats_plan *plan, int mode,
                                sluice_nats_told_fn *told, void *ctx,
                                struct sluice_nats_facts *facts, struct sluice_err *err)
{
    struct sluice_err unused;
    struct sluice_nats_provision p = {.plan = plan,
                                      .mode = mode,
                                      .told = told,
                                      .ctx = ctx,
                                      .facts = facts,
                                      .err = err == NULL ? &unused : err};
    memset(facts, 0, sizeof *facts);
    sluice_rc rc = sluice_nats_api_open(options, &p.api, p.err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    facts->payload_max = whole((double)sluice_nats_api_payload_max(p.api), SIZE_MAX_SAID);
    facts->message_size_max = facts->payload_max;
    sluice_nats_api_server_version(p.api, facts->server_version, sizeof facts->server_version);
    check_version(&p);
    if (sluice_nats_api_warning(p.api) != NULL) {
        sluice_nats_tell(&p, "warning", "%s", sluice_nats_api_warning(p.api));
    }
    rc = inspect_streams(&p);
    if (rc == SLUICE_OK) {
        rc = inspect_outputs(&p);
    }
    if (rc == SLUICE_OK) {
        rc = inspect_consumer(&p);
    }
    if (rc == SLUICE_OK && p.differences == 0) {
        rc = mend_consumer(&p);
    }
    if (rc == SLUICE_OK && p.differences > 0) {
        rc = sluice_nats_differences(&p, p.err);
    }
    sluice_nats_api_close(p.api);
    return rc;
}

sluice_rc sluice_nats_mend(const struct sluice_nats_options *options,
                           const struct sluice_nats_plan *plan, int mode, sluice_nats_told_fn *told,
                           void *ctx, struct sluice_err *err)
{
    struct sluice_err unused;
    struct sluice_nats_provision p = {
        .plan = plan, .mode = mode, .told = told, .ctx = ctx, .err = err == NULL ? &unused : err};
    sluice_rc rc = sluice_nats_api_open(options, &p.api, p.err);
    if (rc == SLUICE_OK) {
        rc = mend_consumer(&p);
        sluice_nats_api_close(p.api);
    }
    /* The thread is borrowed from a pool that outlives libcrypto: what that keeps for a thread (it
     * has looked at a key) would be lost at the process's end. */
    OPENSSL_thread_stop();
    return rc;
}
