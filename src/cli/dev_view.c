/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dev_view.h"

#include <cjson/cJSON.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS 86400000LL

void dev_view_open(struct dev_view *v)
{
    memset(v, 0, sizeof *v);
    v->fd = -1;
    v->with_colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
}

void dev_view_attach(struct dev_view *v, int fd)
{
    v->fd = fd;
}

void dev_view_line(const struct dev_view *v, const char *what, const char *where)
{
    printf("%s%-24s%s %s\n", v->with_colour ? "\033[1m" : "", what, v->with_colour ? "\033[0m" : "",
           where);
    (void)fflush(stdout);
}

static const char *text_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static long long number_of(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) ? (long long)item->valuedouble : 0;
}

/* Milliseconds of the day from "2026-01-31T10:20:30.123Z". */
static long long time_of(const cJSON *json)
{
    int hour, minute, second, ms;
    const char *t = strchr(text_of(json, "time"), 'T');
    if (t == NULL || sscanf(t, "T%2d:%2d:%2d.%3d", &hour, &minute, &second, &ms) != 4) {
        return 0;
    }
    return ((hour * 60LL + minute) * 60 + second) * 1000 + ms;
}

static struct dev_way *way_of(struct dev_view *v, const cJSON *json)
{
    long long seq = number_of(json, "seq");
    struct dev_way *way = &v->ways[(unsigned long long)seq % DEV_VIEW_WAYS];
    if (way->seq != seq) {
        memset(way, 0, sizeof *way);
        way->seq = seq;
    }
    return way;
}

/* From the message's receipt to this line. All stages are measured so, the last one too, though its
 * line has a duration of its own: that begins elsewhere and is rounded by itself, and an ACK must
 * not seem to come before what it waited for. */
static long long way_ms(const struct dev_way *way, const cJSON *json)
{
    long long ms = time_of(json) - way->received_ms;
    return ms < -DAY_MS / 2 ? ms + DAY_MS : ms; /* midnight */
}

/* Appends a stage of the message's way, with the time since its receipt. */
static void way_add(struct dev_view *v, const cJSON *json, const char *stage)
{
    struct dev_way *way = way_of(v, json);
    size_t len = strlen(way->text);
    (void)snprintf(way->text + len, sizeof way->text - len, " → %s %lld ms", stage,
                   way_ms(way, json));
}

static void way_begin(struct dev_view *v, const cJSON *json)
{
    struct dev_way *way = way_of(v, json);
    way->received_ms = time_of(json);
    way->text[0] = '\0';
}

static void way_print(struct dev_view *v, const cJSON *json, const char *icon, const char *end)
{
    struct dev_way *way = way_of(v, json);
    const char *reason = text_of(json, "text");
    printf("%s %-10s  seq %-3lld  received%s → %s %lld ms%s%s\n", icon, text_of(json, "message_id"),
           way->seq, way->text, end, way_ms(way, json), reason[0] == '\0' ? "" : ": ", reason);
    way->text[0] = '\0';
}

static void event_show(struct dev_view *v, const cJSON *json)
{
    const char *event = text_of(json, "event");
    if (strcmp(event, "message.received") == 0) {
        v->received++;
        way_begin(v, json);
    } else if (strcmp(event, "step.llm") == 0) {
        way_add(v, json, strcmp(text_of(json, "fate"), "ok") == 0 ? "LLM answered" : "LLM failed");
    } else if (strcmp(event, "message.stored") == 0) {
        v->stored++;
        way_add(v, json, "stored");
    } else if (strcmp(event, "message.published") == 0) {
        v->published++;
        way_add(v, json, "published");
    } else if (strcmp(event, "message.acknowledged") == 0) {
        v->acknowledged++;
        way_print(v, json, "✅", "acknowledged");
    } else if (strcmp(event, "message.failed") == 0) {
        v->failed++;
        way_print(v, json, "❌", "NAK");
    } else if (strcmp(event, "message.dead_lettered") == 0) {
        v->dead++;
        way_print(v, json, "❌", "dead letter");
    } else if (strcmp(event, "state") == 0 && strcmp(text_of(json, "state"), "RUNNING") == 0) {
        v->is_running = 1;
    } else if (strcmp(text_of(json, "level"), "error") == 0 ||
               strcmp(text_of(json, "level"), "warn") == 0) {
        (void)snprintf(v->last_error, sizeof v->last_error, "%s: %s", event, text_of(json, "text"));
        printf("⚠️  %s\n", v->last_error);
    }
}

static void line_show(struct dev_view *v, const char *line)
{
    cJSON *json = cJSON_Parse(line);
    if (json == NULL) {
        printf("%s\n", line); /* not a log line: a crash report */
        (void)snprintf(v->last_error, sizeof v->last_error, "%.500s", line);
    } else {
        event_show(v, json);
        cJSON_Delete(json);
    }
    (void)fflush(stdout);
}

void dev_view_pump(struct dev_view *v, int wait_ms)
{
    struct pollfd p = {.fd = v->fd, .events = POLLIN};
    int wait = wait_ms;
    while (v->fd >= 0 && poll(&p, 1, wait) > 0) {
        wait = 0;
        ssize_t n = read(v->fd, v->line + v->len, sizeof v->line - 1 - v->len);
        if (n <= 0) {
            if (n == 0) {
                (void)close(v->fd);
                v->fd = -1;
            }
            return;
        }
        v->len += (size_t)n;
        v->line[v->len] = '\0';
        char *start = v->line;
        char *nl;
        while ((nl = strchr(start, '\n')) != NULL) {
            *nl = '\0';
            line_show(v, start);
            start = nl + 1;
        }
        v->len -= (size_t)(start - v->line);
        memmove(v->line, start, v->len);
        if (v->len == sizeof v->line - 1) {
            v->len = 0; /* a line longer than any of ours */
        }
    }
}

void dev_view_close(struct dev_view *v)
{
    if (v->fd >= 0) {
        (void)close(v->fd);
        v->fd = -1;
    }
}
