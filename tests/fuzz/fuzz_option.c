/* SPDX-License-Identifier: Apache-2.0 */
/* Lines: `--flag` and its like are arguments, NAME=value is put into the environment when it is one
 * of our names or of a family of ours (a service's, a header's, a worker's own, one that nobody
 * knows), all others are the file. What loads has every value inside its limits and can be
 * printed; a secret is never printed. */
#include "run/option.h"
#include "scratch_file.h"
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 12
#define SENTINEL      "s3cr3t"

static const char *const names[] = {
#define NAME(member, key, env, kind, value, min, max, help) env,
    SLUICE_OPTIONS(NAME)
#undef NAME
        "OPENAI_API_KEY",
    "OPENAI_BASE_URL"};
#define NAMES_COUNT (sizeof names / sizeof names[0])

/* Whoever begins so is ours, too: SLUICE_SERVICE_NAME_KEY, SLUICE_OPTION_KEY, SLUICE_OUTPUTS,
 * LLM_HEADER_NAME, and what is told to be unknown. */
static const char *const families[] = {"SLUICE_", "LLM_"};
#define FAMILIES_COUNT (sizeof families / sizeof families[0])

struct world {
    char *names[ARGUMENTS_MAX + 2]; /* of the families, set for this input; owned */
    int names_count;
    char *arguments[ARGUMENTS_MAX];
    int count;
    char *file;
    size_t file_len;
    int has_secret, has_open_secret; /* the sentinel stands in a secret; elsewhere */
};

static int is_secret_name(const char *name, size_t len)
{
    static const char *const secrets[] = {
#define SECRET_NAME(member, key, env, kind, value, min, max, help)                                 \
    OPTION_##kind == OPTION_SECRET ? env : "",
        SLUICE_OPTIONS(SECRET_NAME)
#undef SECRET_NAME
            "OPENAI_API_KEY"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (len > 0 && strlen(secrets[i]) == len && memcmp(secrets[i], name, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Of the families: each header of the LLM, and each service's token. */
static int is_secret_of_family(const char *name)
{
    static const char token[] = "_TOKEN";
    size_t len = strlen(name);
    return strncmp(name, "LLM_HEADER_", 11) == 0 ||
           (strncmp(name, "SLUICE_SERVICE_", 15) == 0 && len > 15 + sizeof token - 1 &&
            strcmp(name + len - (sizeof token - 1), token) == 0);
}

static int is_of_family(const char *name)
{
    for (size_t i = 0; i < FAMILIES_COUNT; i++) {
        if (strncmp(name, families[i], strlen(families[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

static void note_sentinel(struct world *w, const char *value, int is_secret)
{
    int has_it = strstr(value, SENTINEL) != NULL;
    w->has_secret |= has_it && is_secret;
    w->has_open_secret |= has_it && !is_secret;
}

static void take_variable(struct world *w, const char *line, size_t len)
{
    char *name = strndup(line, len);
    FUZZ_CHECK(name != NULL && w->names_count < (int)(sizeof w->names / sizeof w->names[0]));
    w->names[w->names_count++] = name;
    (void)setenv(name, line + len + 1, 1);
    note_sentinel(w, line + len + 1, is_secret_of_family(name));
    w->has_open_secret |= strcasestr(name, SENTINEL) != NULL; /* names are shown, in lower case */
}

/* 1 when the line was a name of ours. */
static int take_environment(struct world *w, const char *line)
{
    const char *equals = strchr(line, '=');
    size_t len = equals == NULL ? 0 : (size_t)(equals - line);
    for (size_t i = 0; equals != NULL && i < NAMES_COUNT; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], line, len) == 0) {
            (void)setenv(names[i], equals + 1, 1);
            note_sentinel(w, equals + 1, is_secret_name(line, len));
            return 1;
        }
    }
    /* never a path of a secret's file, as below */
    if (equals == NULL || !is_of_family(line) || memmem(line, len, "_FILE", 5) != NULL) {
        return 0;
    }
    take_variable(w, line, len);
    return 1;
}

static void take_line(struct world *w, char *line)
{
    if (strncmp(line, "--", 2) == 0 && w->count < ARGUMENTS_MAX) {
        w->has_open_secret |= strstr(line, SENTINEL) != NULL;
        w->arguments[w->count++] = line;
    } else if (!take_environment(w, line) && strstr(line, "_file") == NULL) {
        /* never a path of a secret's file from the input: it might name a device */
        w->has_open_secret |= strstr(line, SENTINEL) != NULL;
        size_t len = strlen(line);
        memcpy(w->file + w->file_len, line, len);
        w->file[w->file_len + len] = '\n';
        w->file_len += len + 1;
    }
}

static void check_values(const struct sluice_settings *s)
{
#define CHECK_SECONDS(v, min, max)                                                                 \
    FUZZ_CHECK((double)(v) >= (min)*1000.0 - 1 && (double)(v) <= (max)*1000.0 + 1)
#define CHECK_COUNT(v, min, max)                             FUZZ_CHECK((double)(v) >= (min) && (double)(v) <= (max))
#define CHECK_NUMBER(v, min, max)                            FUZZ_CHECK((v) >= (min) && (v) <= (max))
#define CHECK_FLAG(v, min, max)                              FUZZ_CHECK((v) == 0 || (v) == 1)
#define CHECK_TEXT(v, min, max)                              FUZZ_CHECK((v) != NULL)
#define CHECK_WORD                                           CHECK_TEXT
#define CHECK_NAME(v, min, max)                              FUZZ_CHECK(strlen(v) <= 64 && strpbrk(v, " .*>/\n") == NULL)
#define CHECK_SUBJECT(v, min, max)                           FUZZ_CHECK(strpbrk(v, " *>\n") == NULL)
#define CHECK_PATTERN(v, min, max)                           FUZZ_CHECK(strpbrk(v, " \n") == NULL)
#define CHECK_URL(v, min, max)                               FUZZ_CHECK(strpbrk(v, " \t\r\n") == NULL)
#define CHECK_PATH                                           CHECK_TEXT
#define CHECK_SECRET                                         CHECK_TEXT
#define CHECK(member, key, env, kind, value, min, max, help) CHECK_##kind(s->member, min, max);
    SLUICE_OPTIONS(CHECK)
#undef CHECK
}

static void check_print(const struct world *w, const struct sluice_settings_box *box, int as_json)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    FUZZ_CHECK(out != NULL);
    sluice_settings_print(box, NULL, NULL, out, as_json);
    (void)fclose(out);
    FUZZ_CHECK(len > 0);
    FUZZ_CHECK(!w->has_secret || w->has_open_secret || strstr(text, SENTINEL) == NULL);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sluice_report report;
    struct fuzz_input in = fuzz_input_of(data, size);
    struct sluice_settings_box *box = NULL;
    struct world w = {.file = malloc(size + 16)};
    FUZZ_CHECK(w.file != NULL);
    for (size_t i = 0; i < NAMES_COUNT; i++) {
        (void)unsetenv(names[i]);
    }
    for (char *line; in.count < 14 && (line = fuzz_take_line(&in)) != NULL;) {
        take_line(&w, line);
    }
    sluice_rc rc = sluice_settings_load(
        w.count, w.arguments, w.file_len == 0 ? NULL : fuzz_scratch_file(w.file, w.file_len), &box,
        &report);
    FUZZ_CHECK((rc == SLUICE_OK) == (report.count == 0));
    FUZZ_CHECK(strlen(report.text) < sizeof report.text);
    FUZZ_CHECK(!w.has_secret || w.has_open_secret || strstr(report.text, SENTINEL) == NULL);
    FUZZ_CHECK(box != NULL);
    check_values(sluice_settings_of(box));
    check_print(&w, box, 0);
    check_print(&w, box, 1);
    sluice_settings_free(box);
    for (int i = 0; i < w.names_count; i++) {
        (void)unsetenv(w.names[i]);
        free(w.names[i]);
    }
    free(w.file);
    fuzz_input_fini(&in);
    return 0;
}
