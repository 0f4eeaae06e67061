/* SPDX-License-Identifier: Apache-2.0 */
/* `sluice send`: publish requests and wait for each PubAck. */
#include "cli/command.h"

#include "adapter/nats_desk.h"
#include "cli/arguments.h"
#include "codec/header.h"
#include "port/clock.h"
#include "run/nats_target.h"
#include "run/state.h"
#include "sluice/names.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX    (64u << 20) /* the server's own limit is far below */
#define HEADERS_MAX 32
#define PROGRESS_MS 500
#define SAMPLES_MAX 10000000

static const char help[] =
    "usage: sluice send [FILE|-] [--lines] [--data TEXT] [--samples N] [OPTIONS]\n\n"
    "Publishes requests to the worker's subject and waits for the stream's acknowledgement of "
    "each.\n\n"
    "  FILE, -            a file or standard input as one message\n"
    "  --lines            each line of it is a message (JSON lines)\n"
    "  --data TEXT        this text as one message\n"
    "  --samples N        N generated requests of the context enricher\n"
    "  --count N          send what was given N times; %d in it becomes the number\n"
    "  --subject SUBJECT  instead of the configured request subject\n"
    "  --header NAME:VALUE  may be repeated\n"
    "  --type TYPE        protobuf type, header Sluice-Proto\n"
    "  --content-type T   default: application/json when it begins with {, "
    "else " SLUICE_TYPE_PROTOBUF "\n"
    "  --id PREFIX        Nats-Msg-Id PREFIX-1, PREFIX-2 …: sent twice, stored once\n"
    "  --json             the result as JSON\n"
    "  --quiet            no progress\n"
    "  --config FILE, --context NAME, and the worker's settings as flags\n\n"
    "Exit codes: 0 all are stored; 1 some are not; 2 arguments or settings; 3 no connection.\n";

struct send {
    struct sluice_nats_desk *desk;
    const char *subject, *content_type, *type, *id;
    sluice_header headers[HEADERS_MAX + 4];
    uint32_t headers_count;
    int64_t count, samples;
    int is_json, is_quiet, is_lines;
    uint64_t sent, failed, last_sequence;
    int64_t started_ms, shown_ms;
    struct sluice_err first; /* error */
};

static void show_progress(struct send *s)
{
    int64_t now = sluice_mono_ms();
    if (s->is_quiet || s->is_json || now - s->shown_ms < PROGRESS_MS || !isatty(STDERR_FILENO)) {
        return;
    }
    s->shown_ms = now;
    fprintf(stderr, "\r%llu sent", (unsigned long long)s->sent);
}

/* ---- One message ---- */

static void send_one(struct send *s, const char *body, size_t len)
{
    char id[128];
    struct sluice_err err = {0};
    uint32_t count = s->headers_count;
    const char *content_type = s->content_type;
    if (content_type == NULL) {
        size_t blanks = len > 0 ? strspn(body, " \t\r\n") : 0;
        content_type =
            blanks < len && body[blanks] == '{' ? "application/json" : SLUICE_TYPE_PROTOBUF;
    }
    s->headers[count++] = (sluice_header){"Content-Type", content_type};
    if (s->type != NULL) {
        s->headers[count++] = (sluice_header){SLUICE_HEADER_PROTO, s->type};
    }
    if (s->id != NULL) {
        (void)snprintf(id, sizeof id, "%.100s-%llu", s->id,
                       (unsigned long long)(s->sent + s->failed + 1));
        s->headers[count++] = (sluice_header){"Nats-Msg-Id", id};
    }
    if (sluice_nats_desk_publish(s->desk, s->subject, s->headers, count, (sluice_bytes){body, len},
                                 &s->last_sequence, &err) == SLUICE_OK) {
        s->sent++;
    } else if (s->failed++ == 0) {
        s->first = err;
    }
    show_progress(s);
}

/* The text with %d as the number, `count` times. */
static void send_repeated(struct send *s, const char *body, size_t len)
{
    const char *mark = s->count > 1 ? memmem(body, len, "%d", 2) : NULL;
    for (int64_t i = 1; i <= s->count; i++) {
        if (mark == NULL) {
            send_one(s, body, len);
            continue;
        }
        char number[24];
        size_t before = (size_t)(mark - body);
        size_t number_len = (size_t)snprintf(number, sizeof number, "%lld", (long long)i);
        char *text = malloc(len + number_len);
        if (text == NULL) {
            s->failed++;
            (void)sluice_err_set(&s->first, SLUICE_ERR_NOMEM, "out of memory");
            return;
        }
        memcpy(text, body, before);
        memcpy(text + before, number, number_len);
        memcpy(text + before + number_len, mark + 2, len - before - 2);
        send_one(s, text, len - 2 + number_len);
        free(text);
    }
}

/* ---- Where messages come from ---- */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "sluice send: %s: %s\n", what, why);
    return SLUICE_EXIT_CONFIG;
}

static int send_lines(struct send *s, FILE *file, const char *name)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, file)) >= 0) {
        while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
            len--;
        }
        if (len > 0) {
            send_repeated(s, line, (size_t)len);
        }
    }
    free(line);
    return ferror(file) ? fail(name, strerror(errno)) : 0;
}

static int send_whole(struct send *s, FILE *file, const char *name)
{
    size_t len = 0, size = 65536;
    char *body = malloc(size + 1);
    while (body != NULL && len <= BODY_MAX) {
        len += fread(body + len, 1, size - len, file);
        if (len < size) {
            break;
        }
        size *= 2;
        char *larger = realloc(body, size + 1);
        if (larger == NULL) {
            free(body);
        }
        body = larger;
    }
    int code = body == NULL     ? fail(name, "out of memory")
               : ferror(file)   ? fail(name, strerror(errno))
               : len > BODY_MAX ? fail(name, "larger than any message may be")
                                : 0;
    if (code == 0) {
        body[len] = '\0';
        send_repeated(s, body, len);
    }
    free(body);
    return code;
}

static int send_file(struct send *s, const char *name)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (file == NULL) {
        return fail(name, strerror(errno));
    }
    int code = s->is_lines ? send_lines(s, file, name) : send_whole(s, file, name);
    if (file != stdin) {
        (void)fclose(file);
    }
    return code;
}

/* Requests whose words differ, so that each answer can be told apart. */
static void send_samples(struct send *s)
{
    static const char *const things[] = {"copper shipments", "espresso machine", "cooling pump",
                                         "night bus",        "solar panel",      "library card"};
    static const char *const places[] = {"Antwerp", "Gdansk", "Porto", "Tallinn", "Bari"};
    char body[512];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    for (int64_t i = 1; i <= s->samples; i++) {
        const char *thing = things[i % 6], *place = places[i % 5];
        int len = snprintf(
            body, sizeof body,
            "{\"request_id\":\"send-%lld-%lld\",\"entity_id\":\"entity-%lld\",\"user_id\":\"send\","
            "\"query\":\"What about the %s in %s?\",\"inputs\":[\"report %lld on the %s\"]}",
            (long long)now.tv_sec, (long long)i, (long long)(i % 97), thing, place, (long long)i,
            thing);
        send_one(s, body, (size_t)len);
    }
}

/* ---- The command ---- */

static void add_header(struct send *s, char **argv, const char *text)
{
    size_t len = strcspn(text, ":");
    char *name = strndup(text, len); /* lives as long as the process */
    const char *value = text[len] == ':' ? text + len + 1 + strspn(text + len + 1, " ") : NULL;
    if (name == NULL || !sluice_header_is_carried(name, value) || s->headers_count == HEADERS_MAX) {
        arguments_wrong(argv, "--header",
                        "\"%s\", expected NAME:VALUE, NAME without blanks, VALUE in one line, at "
                        "most 32 times",
                        text);
        free(name);
        return;
    }
    s->headers[s->headers_count++] = (sluice_header){name, value};
}

/* The value of a flag that becomes a header's. */
static const char *header_value(int *argc, char **argv, const char *flag)
{
    const char *value = arguments_value(argc, argv, flag);
    if (value != NULL && !sluice_header_value_is_valid(value)) {
        arguments_wrong(argv, flag, "\"%s\", expected one line", value);
    }
    return value;
}

static int print_result(const struct send *s)
{
    double seconds = (double)(sluice_mono_ms() - s->started_ms) / 1000;
    if (s->is_json) {
        printf("{\"subject\":\"%s\",\"sent\":%llu,\"failed\":%llu,\"last_sequence\":%llu,"
               "\"seconds\":%.3f}\n",
               s->subject, (unsigned long long)s->sent, (unsigned long long)s->failed,
               (unsigned long long)s->last_sequence, seconds);
    } else {
        if (!s->is_quiet && isatty(STDERR_FILENO)) {
            fputs("\r", stderr);
        }
        printf("%llu sent to %s, last sequence %llu, in %.2f s\n", (unsigned long long)s->sent,
               s->subject, (unsigned long long)s->last_sequence, seconds);
    }
    if (s->failed > 0) {
        fprintf(stderr, "sluice send: %llu not stored, the first: %s\n",
                (unsigned long long)s->failed, s->first.text);
    }
    return s->failed > 0 ? SLUICE_EXIT_RUNTIME : 0;
}

static int send_all(struct send *s, const char *file, const char *data)
{
    int code = 0;
    s->started_ms = s->shown_ms = sluice_mono_ms();
    if (s->samples > 0) {
        send_samples(s);
    }
    if (data != NULL) {
        send_repeated(s, data, strlen(data));
    }
    if (file != NULL) {
        code = send_file(s, file);
    }
    return code != 0 ? code : print_result(s);
}

static int connect_and_send(struct send *s, const struct sluice_settings *settings,
                            const char *file, const char *data)
{
    struct sluice_err err = {0};
    struct sluice_nats_target target;
    sluice_rc rc = sluice_nats_target_init(&target, settings, "send", &err);
    int code = SLUICE_EXIT_CONFIG;
    if (rc == SLUICE_OK) {
        rc = sluice_nats_desk_open(&target.options, &s->desk, &err);
        code = rc == SLUICE_ERR_CONFIG ? SLUICE_EXIT_CONFIG : SLUICE_EXIT_INIT;
    }
    if (rc == SLUICE_OK) {
        s->subject = s->subject == NULL ? settings->subject_request : s->subject;
        if (strpbrk(s->subject, "*>") != NULL) {
            fprintf(stderr, "sluice send: \"%s\" has wildcards, expected --subject SUBJECT\n",
                    s->subject);
            code = SLUICE_EXIT_CONFIG;
        } else {
            code = send_all(s, file, data);
        }
    } else {
        fprintf(stderr, "sluice send: %s\n", err.text);
    }
    sluice_nats_desk_close(s->desk);
    sluice_nats_target_fini(&target);
    return code;
}

static int run(int argc, char **argv)
{
    static struct send s;
    const char *text;
    s.count = 1;
    if (arguments_flag(&argc, argv, "--help")) {
        fputs(help, stdout);
        return 0;
    }
    s.is_json = arguments_flag(&argc, argv, "--json");
    s.is_quiet = arguments_flag(&argc, argv, "--quiet");
    s.is_lines = arguments_flag(&argc, argv, "--lines");
    s.subject = arguments_value(&argc, argv, "--subject");
    s.content_type = header_value(&argc, argv, "--content-type");
    s.type = header_value(&argc, argv, "--type");
    s.id = header_value(&argc, argv, "--id");
    const char *data = arguments_value(&argc, argv, "--data");
    while ((text = arguments_next_value(&argc, argv, "--header")) != NULL) {
        add_header(&s, argv, text);
    }
    arguments_number(&argc, argv, "--count", 1, SAMPLES_MAX, &s.count);
    arguments_number(&argc, argv, "--samples", 1, SAMPLES_MAX, &s.samples);
    const char *file = arguments_word(&argc, argv);
    if (s.subject != NULL && !sluice_subject_is_valid(s.subject)) {
        arguments_wrong(argv, "--subject", "\"%s\", expected a subject like a.b.c", s.subject);
    }
    if (!arguments_are_whole()) {
        return SLUICE_EXIT_CONFIG;
    }
    if (s.is_lines && file == NULL) {
        return fail("--lines", "expected with a FILE or -");
    }
    if (file == NULL && data == NULL && s.samples == 0) {
        return fail("nothing to send", "name a FILE, - , --data or --samples; see --help");
    }
    if (s.samples > 0 && s.count > 1) {
        return fail("--count", "expected with a FILE or --data");
    }
    if (file != NULL && strcmp(file, "-") != 0 && access(file, R_OK) != 0) {
        return fail(file, strerror(errno)); /* before anything is sent */
    }
    if ((file != NULL) + (data != NULL) + (s.samples > 0) > 1) {
        return fail("too much to send", "expected one of FILE, --data and --samples");
    }
    struct sluice_settings_box *box = NULL;
    int code = arguments_settings("send", argc, argv, &box);
    if (code == 0) {
        code = connect_and_send(&s, sluice_settings_of(box), file, data);
    }
    sluice_settings_free(box);
    return code;
}

extern const struct sluice_command sluice_command_send;
const struct sluice_command sluice_command_send = {"send", "publish requests", run};
