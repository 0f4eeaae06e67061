/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice tail`: follow a stream and show its messages. */
#include "cli/command.h"

#include "adapter/nats_desk.h"
#include "cli/arguments.h"
#include "codec/base64.h"
#include "codec/utf8.h"
#include "run/nats_target.h"
#include "run/state.h"
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_MS    200
#define LAST       10    /* messages before the end, without a flag */
#define TEXT_SHOWN 4096u /* bytes of a text body, without --full */
#define HEX_SHOWN  256u  /* bytes of a binary one */
#define HEX_LINE   16u

static const char help[] =
    "usage: sluice tail [STREAM] [--last N|--from SEQUENCE|--new] [--count N] [--follow] "
    "[OPTIONS]\n\n"
    "Shows messages of a stream: sequence, time, subject, headers and body. Nothing is "
    "consumed.\n\n"
    "  STREAM             a name, or requests, ready or dead for those of the settings [ready]\n"
    "  --last N           begin N messages before the end [10]\n"
    "  --from SEQUENCE    begin there\n"
    "  --new              only what comes from now on; implies --follow\n"
    "  --count N          end after N messages\n"
    "  --follow           wait for more\n"
    "  --hex              bodies as bytes\n"
    "  --full             long bodies whole\n"
    "  --json             one JSON object a message\n"
    "  --config FILE, --context NAME, and the worker's settings as flags\n\n"
    "Exit codes: 0; 2 arguments or settings; 3 no connection, no such stream.\n";

struct tail {
    struct sluice_nats_desk *desk;
    const char *stream;
    int64_t last, from, count;
    int is_new, follows, is_hex, is_full, is_json;
};

static volatile sig_atomic_t is_interrupted;

static void on_signal(int signal)
{
    (void)signal;
    is_interrupted = 1;
}

/* ---- Showing ---- */

/* Text that may go to a terminal: UTF-8 without control characters but line feed and tab. */
static int is_text(sluice_bytes body)
{
    const unsigned char *at = body.data;
    for (size_t i = 0; i < body.len; i++) {
        if ((at[i] < 0x20 && at[i] != '\n' && at[i] != '\t' && at[i] != '\r') || at[i] == 0x7f) {
            return 0;
        }
    }
    return sluice_utf8_span(body.data, body.len) == body.len;
}

static void print_hex(sluice_bytes body, size_t shown)
{
    const unsigned char *at = body.data;
    for (size_t line = 0; line < shown; line += HEX_LINE) {
        printf("    %04zx ", line);
        for (size_t i = line; i < line + HEX_LINE; i++) {
            if (i < shown) {
                printf(" %02x", at[i]);
            } else {
                fputs("   ", stdout);
            }
        }
        fputs("  ", stdout);
        for (size_t i = line; i < line + HEX_LINE && i < shown; i++) {
            putchar(at[i] >= 0x20 && at[i] < 0x7f ? at[i] : '.');
        }
        putchar('\n');
    }
}

/* A header's value comes from anybody: nothing of it may steer the terminal. */
static void print_safe(const char *text)
{
    sluice_bytes bytes = {text, strlen(text)};
    if (is_text(bytes)) {
        fputs(text, stdout);
        return;
    }
    for (const char *at = text; *at != '\0'; at++) {
        putchar((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f ? *at : '?');
    }
}

static void print_body(const struct tail *t, sluice_bytes body)
{
    if (!t->is_hex && is_text(body)) {
        size_t shown = t->is_full || body.len <= TEXT_SHOWN ? body.len : TEXT_SHOWN;
        shown = shown < body.len ? sluice_utf8_span(body.data, shown) : shown;
        printf("    %.*s%s\n", (int)shown, (const char *)body.data,
               shown < body.len ? " … (--full shows all)" : "");
        return;
    }
    size_t shown = t->is_full || body.len <= HEX_SHOWN ? body.len : HEX_SHOWN;
    print_hex(body, shown);
    if (shown < body.len) {
        printf("    … %zu more bytes (--full shows all)\n", body.len - shown);
    }
}

static void print_plain(const struct tail *t, const struct sluice_nats_letter *letter)
{
    printf("%llu  %s  ", (unsigned long long)letter->sequence, letter->time);
    print_safe(letter->subject);
    printf("  %zu bytes\n", letter->body.len);
    for (uint32_t i = 0; i < letter->headers_count; i++) {
        fputs("  ", stdout);
        print_safe(letter->headers[i].name);
        fputs(": ", stdout);
        print_safe(letter->headers[i].value);
        putchar('\n');
    }
    print_body(t, letter->body);
}

static void add_text(cJSON *json, const char *name, const char *text)
{
    (void)cJSON_AddStringToObject(
        json, name, sluice_utf8_span(text, strlen(text)) == strlen(text) ? text : "?");
}

/* The body as "json" when it is some, as "text" when it is that, else as "base64". */
static void add_body(cJSON *json, sluice_bytes body)
{
    cJSON *parsed = is_text(body) ? cJSON_ParseWithLength(body.data, body.len) : NULL;
    if (cJSON_IsObject(parsed) || cJSON_IsArray(parsed)) {
        cJSON_AddItemToObject(json, "json", parsed);
        return;
    }
    cJSON_Delete(parsed);
    if (is_text(body)) {
        (void)cJSON_AddStringToObject(json, "text", body.data);
        return;
    }
    char *text = malloc(SLUICE_BASE64_SIZE(body.len) + 1);
    if (text != NULL) {
        sluice_base64_encode(body.data, body.len, text);
        text[SLUICE_BASE64_SIZE(body.len)] = '\0';
        (void)cJSON_AddStringToObject(json, "base64", text);
        free(text);
    }
}

static void print_json(const struct sluice_nats_letter *letter)
{
    cJSON *json = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(json, "sequence", (double)letter->sequence);
    add_text(json, "time", letter->time);
    add_text(json, "subject", letter->subject);
    cJSON *headers = cJSON_AddArrayToObject(json, "headers"); /* a name may repeat */
    for (uint32_t i = 0; i < letter->headers_count; i++) {
        cJSON *header = cJSON_CreateObject();
        add_text(header, "name", letter->headers[i].name);
        add_text(header, "value", letter->headers[i].value);
        cJSON_AddItemToArray(headers, header);
    }
    add_body(json, letter->body);
    char *text = cJSON_PrintUnformatted(json);
    if (text != NULL) {
        puts(text);
    }
    cJSON_free(text);
    cJSON_Delete(json);
}

/* ---- Following ---- */

static sluice_rc first_sequence(const struct tail *t, uint64_t *first, struct sluice_err *err)
{
    uint64_t last = 0;
    sluice_rc rc = sluice_nats_desk_last(t->desk, t->stream, &last, err);
    if (rc != SLUICE_OK) {
        return rc;
    }
    *first = last + 1;
    if (t->from > 0) {
        *first = (uint64_t)t->from;
    } else if (!t->is_new) {
        *first = last > (uint64_t)t->last ? last - (uint64_t)t->last + 1 : 1;
    }
    return SLUICE_OK;
}

static int follow(const struct tail *t, struct sluice_err *err)
{
    uint64_t next = 1;
    int64_t shown = 0;
    sluice_rc rc = first_sequence(t, &next, err);
    while (rc == SLUICE_OK && !is_interrupted && (t->count == 0 || shown < t->count)) {
        struct sluice_nats_letter *letter = NULL;
        rc = sluice_nats_desk_get(t->desk, t->stream, next, &letter, err);
        if (rc == SLUICE_ERR_NOT_FOUND) {
            uint64_t last;
            rc = sluice_nats_desk_last(t->desk, t->stream, &last, err);
            if (rc != SLUICE_OK || !t->follows) {
                break;
            }
            (void)fflush(stdout);
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
            continue;
        }
        if (rc == SLUICE_OK) {
            if (t->is_json) {
                print_json(letter);
            } else {
                print_plain(t, letter);
            }
            next = letter->sequence + 1;
            shown++;
        }
        free(letter);
    }
    (void)fflush(stdout);
    return rc == SLUICE_OK ? 0 : SLUICE_EXIT_INIT;
}

static const char *stream_of(const struct sluice_settings *s, const char *name)
{
    if (name == NULL || strcmp(name, "ready") == 0) {
        return s->stream_ready;
    }
    if (strcmp(name, "requests") == 0) {
        return s->stream_requests;
    }
    return strcmp(name, "dead") == 0 ? s->stream_dead : name;
}

static int connect_and_follow(struct tail *t, const struct sluice_settings *settings,
                              const char *name)
{
    struct sluice_err err = {0};
    struct sluice_nats_target target;
    int code = SLUICE_EXIT_CONFIG;
    sluice_rc rc = sluice_nats_target_init(&target, settings, "tail", &err);
    if (rc == SLUICE_OK) {
        rc = sluice_nats_desk_open(&target.options, &t->desk, &err);
        code = rc == SLUICE_ERR_CONFIG ? SLUICE_EXIT_CONFIG : SLUICE_EXIT_INIT;
    }
    if (rc == SLUICE_OK) {
        t->stream = stream_of(settings, name);
        code = follow(t, &err);
    }
    if (code != 0) {
        fprintf(stderr, "sluice tail: %s\n", err.text);
    }
    sluice_nats_desk_close(t->desk);
    sluice_nats_target_fini(&target);
    return code;
}

static int run(int argc, char **argv)
{
    struct tail t = {.last = 0};
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    t.is_new = arguments_flag(&argc, argv, "--new");
    t.follows = arguments_flag(&argc, argv, "--follow") || t.is_new;
    t.is_hex = arguments_flag(&argc, argv, "--hex");
    t.is_full = arguments_flag(&argc, argv, "--full");
    t.is_json = arguments_flag(&argc, argv, "--json");
    arguments_number(&argc, argv, "--last", 1, INT64_MAX, &t.last);
    arguments_number(&argc, argv, "--from", 1, INT64_MAX, &t.from);
    arguments_number(&argc, argv, "--count", 1, INT64_MAX, &t.count);
    const char *name = arguments_word(&argc, argv);
    if (!arguments_are_whole()) {
        return SLUICE_EXIT_CONFIG;
    }
    if ((t.last > 0) + (t.from > 0) + t.is_new > 1) {
        fputs("sluice tail: expected one of --last, --from and --new\n", stderr);
        return SLUICE_EXIT_CONFIG;
    }
    t.last = t.last == 0 ? LAST : t.last;
    struct sluice_settings_box *box = NULL;
    int code = arguments_settings("tail", argc, argv, &box);
    if (code == 0) {
        struct sigaction action = {.sa_handler = on_signal};
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        code = connect_and_follow(&t, sluice_settings_of(box), name);
    }
    sluice_settings_free(box);
    return code;
}

extern const struct sluice_command sluice_command_tail;
const struct sluice_command sluice_command_tail = {"tail", "show the messages of a stream", run};
