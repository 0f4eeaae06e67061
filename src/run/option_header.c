/* SPDX-License-Identifier: Apache-2.0 */
/* Further headers of the LLM's requests: section llm.headers, LLM_HEADER_<NAME>. Each value counts
 * as a secret. */
#include "run/option_box.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX     "LLM_HEADER_"
#define SECTION    "llm.headers."
#define SECRET_LEN 8u /* shorter ones are none, and would spoil every text */

extern char **environ;

static const struct option row = {.key = "llm.headers", .kind = OPTION_SECRET, .default_value = ""};

/* What HTTP calls a token. */
static int is_header_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "!#$%&'*+-.^_`|~";
    size_t len = strlen(name);
    return len >= 1 && len <= SLUICE_OPTION_NAME_MAX && strspn(name, letters) == len;
}

int option_is_our_header(const char *name)
{
    static const char *const ours[] = {
        "Host",   "Content-Length",  "Transfer-Encoding", "Content-Type",     "Connection",
        "Expect", "Accept-Encoding", "Idempotency-Key",   "X-Correlation-ID", "traceparent"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcasecmp(ours[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The place of the header of that name; the first free one when it is new. An environment variable
 * cannot tell case and - from _: it means the header of the file. */
static uint32_t header_find(const struct sluice_settings *all, const char *name)
{
    uint32_t i = 0;
    while (i < all->llm_headers_count &&
           !sluice_service_name_is_same(all->llm_headers[i].name, name)) {
        i++;
    }
    return i;
}

static void header_set(struct sluice_settings_box *box, const char *name, const char *value,
                       int is_file, enum option_layer layer, const struct option_source *s)
{
    struct sluice_settings *all = &box->settings;
    uint32_t i = header_find(all, name);
    if (!is_header_name(name) || option_is_our_header(name)) {
        sluice_report_add(
            s->report, &s->place,
            "\"%.80s\", expected a header's name of at most 64 letters, digits, - and "
            "other signs of HTTP, and none that the runtime sets",
            name);
    } else if (i < all->llm_headers_count && box->llm_headers[i].layer == layer) {
        sluice_report_add(s->report, &s->place, "set twice, itself or together with its file");
    } else if (i == SLUICE_LLM_HEADERS_MAX) {
        sluice_report_add(s->report, &s->place, "expected at most %u headers",
                          SLUICE_LLM_HEADERS_MAX);
    } else {
        struct sluice_llm_header *h = &all->llm_headers[i];
        struct header_origin *origin = &box->llm_headers[i];
        int is_set = is_file ? option_set_from_file(&row, value, &h->value, &origin->text, s)
                             : option_set(&row, value, &h->value, &origin->text, s);
        if (is_set && i == all->llm_headers_count) {
            (void)snprintf(h->name, sizeof h->name, "%s", name);
            all->llm_headers_count++;
        }
        if (is_set) {
            origin->layer = (uint8_t)layer;
            origin->at = (struct option_at){s->place.line, s->place.column};
        }
    }
}

/* Cut the suffix of a secret's file; 0: there is none. */
static int file_cut(char *name, const char *suffix)
{
    size_t len = strlen(name);
    size_t n = strlen(suffix);
    int is_file = len > n && strcmp(name + len - n, suffix) == 0;
    name[is_file ? len - n : len] = '\0';
    return is_file;
}

int option_header_item(struct sluice_settings_box *box, const char *key, const char *value,
                       const struct option_source *s)
{
    if (strncmp(key, SECTION, strlen(SECTION)) != 0) {
        return strcmp(key, row.key) == 0; /* without any */
    }
    char name[256];
    (void)snprintf(name, sizeof name, "%s", key + strlen(SECTION));
    int is_file = file_cut(name, "_file");
    header_set(box, name, value, is_file, LAYER_FILE, s);
    return 1;
}

void option_header_environment(struct sluice_settings_box *box, struct sluice_report *report)
{
    for (char **e = environ; e != NULL && *e != NULL; e++) {
        size_t len = strcspn(*e, "=");
        if (strncmp(*e, PREFIX, strlen(PREFIX)) != 0 || (*e)[len] == '\0') {
            continue;
        }
        char variable[256];
        char name[256];
        (void)snprintf(variable, sizeof variable, "%.*s", (int)len, *e);
        (void)snprintf(name, sizeof name, "%s", variable + strlen(PREFIX));
        int is_file = file_cut(name, "_FILE");
        for (char *c = name; *c != '\0'; c++) {
            *c = (char)(*c == '_' ? '-' : tolower((unsigned char)*c));
        }
        struct option_source s = {{.option = variable, .is_variable = 1}, report};
        header_set(box, name, *e + len + 1, is_file, LAYER_ENVIRONMENT, &s);
    }
}

void option_header_check(struct sluice_settings_box *box, struct sluice_report *report)
{
    const struct sluice_settings *s = &box->settings;
    uint32_t i = header_find(s, "Authorization");
    if (i == s->llm_headers_count || s->llm_headers[i].value[0] == '\0') {
        return;
    }
    struct sluice_place place =
        option_place(box, "llm.headers.Authorization", box->llm_headers[i].layer,
                     box->llm_headers[i].at, "LLM_HEADER_AUTHORIZATION");
    if (s->llm_api_key[0] != '\0') {
        sluice_report_add(report, &place,
                          "set beside LLM_API_KEY, which is sent in the same header, expected one "
                          "of them");
    }
    if (option_url_has_login(s->llm_base_url)) {
        sluice_report_add(report, &place,
                          "set beside a login in LLM_BASE_URL, which is sent in the same header, "
                          "expected one of them");
    }
}

void option_header_free(struct sluice_settings_box *box)
{
    for (uint32_t i = 0; i < SLUICE_LLM_HEADERS_MAX; i++) {
        free(box->llm_headers[i].text);
    }
}

void sluice_llm_header_secrets(const struct sluice_settings *s, void (*see)(const char *secret))
{
    for (uint32_t i = 0; i < s->llm_headers_count; i++) {
        const char *value = s->llm_headers[i].value;
        const char *blank = strrchr(value, ' '); /* Bearer TOKEN */
        if (strlen(value) >= SECRET_LEN) {
            see(value);
        }
        if (blank != NULL && strlen(blank + 1) >= SECRET_LEN) {
            see(blank + 1);
        }
    }
}

/* ---- Printed forms ---- */

void option_header_print(const struct sluice_settings_box *box, FILE *out, int as_json)
{
    const struct sluice_settings *s = &box->settings;
    for (uint32_t i = 0; i < s->llm_headers_count; i++) {
        char key[128];
        (void)snprintf(key, sizeof key, SECTION "%s", s->llm_headers[i].name);
        option_line_print(out, key, &row, s->llm_headers[i].value, box->llm_headers[i].layer,
                          as_json);
    }
}

void option_header_example(FILE *out)
{
    fputs("#   headers:   # further headers of each request [LLM_HEADER_NAME]; NAME_file: a file "
          "with the value\n"
          "#     NAME: value\n",
          out);
}

void option_header_reference(FILE *out)
{
    fputs("| `llm.headers.NAME` | `LLM_HEADER_NAME` | | further header of each request to the LLM, "
          "such as `api-key`; at most 8. The value is a secret: also `NAME_file`, "
          "`LLM_HEADER_NAME_FILE`, never shown. In the variable's NAME a `_` is a `-` |\n",
          out);
}

void option_header_schema(FILE *out)
{
    fputs(",\"headers\":{\"type\":\"object\",\"maxProperties\":8,\"additionalProperties\":{"
          "\"type\":[\"string\",\"number\",\"boolean\"]}}",
          out);
}
