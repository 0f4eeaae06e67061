/* SPDX-License-Identifier: Apache-2.0 */
/* A worker.yaml: each value comes with a key of the right depth and a place inside the file; the
 * same values written plainly read the same. */
#include "run/option.h"
#include "scratch_file.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX 64u

struct items {
    char *texts[ITEMS_MAX][2]; /* key, value */
    size_t count;
    unsigned lines; /* of the file */
    int is_plain;   /* every key can be written without quotes */
};

static int is_plain_key(const char *key)
{
    size_t dots = 0, len = strlen(key);
    for (const char *p = key; *p != '\0'; p++) {
        dots += *p == '.';
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.') {
            return 0;
        }
    }
    return dots == 1 && key[0] != '.' && key[len - 1] != '.' && len < 64 &&
           strncmp(key, "services.", 9) != 0 && strcmp(key, "llm.headers") != 0;
}

static void on_item(void *ctx, const char *key, const char *value, unsigned line, unsigned column)
{
    struct items *items = ctx;
    FUZZ_CHECK(line >= 1 && line <= items->lines && column >= 1);
    FUZZ_CHECK(strchr(key, '.') != NULL && strlen(key) < 256);
    items->is_plain &= is_plain_key(key) && items->count < ITEMS_MAX;
    if (items->count < ITEMS_MAX) {
        items->texts[items->count][0] = strdup(key);
        items->texts[items->count][1] = strdup(value);
        FUZZ_CHECK(items->texts[items->count][0] != NULL && items->texts[items->count][1] != NULL);
        items->count++;
    }
}

static void items_fini(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->texts[i][0]);
        free(items->texts[i][1]);
    }
}

/* Keys in their sections, which come once each, values in quotes with all that is not a letter
 * escaped. */
static char *write_plainly(const struct items *items)
{
    size_t size = 1;
    for (size_t i = 0; i < items->count; i++) {
        size += strlen(items->texts[i][0]) + 6 * strlen(items->texts[i][1]) + 16;
    }
    char *yaml = malloc(size), *to = yaml;
    FUZZ_CHECK(yaml != NULL);
    for (size_t i = 0; i < items->count; i++) {
        const char *key = items->texts[i][0], *dot = strchr(key, '.');
        size_t section = (size_t)(dot - key) + 1;
        if (i == 0 || strncmp(key, items->texts[i - 1][0], section) != 0) {
            to += sprintf(to, "%.*s:\n", (int)section - 1, key);
        }
        to += sprintf(to, "  %s: \"", dot + 1);
        for (const unsigned char *p = (const unsigned char *)items->texts[i][1]; *p != '\0'; p++) {
            to += *p < 0x80 && !isalnum(*p) ? sprintf(to, "\\x%02x", *p) : sprintf(to, "%c", *p);
        }
        to += sprintf(to, "\"\n");
    }
    *to = '\0';
    return yaml;
}

static unsigned lines_of(const char *data, size_t len)
{
    unsigned lines = 1;
    for (size_t i = 0; i < len; i++) { /* YAML ends lines at NEL, LS and PS, too */
        lines += data[i] == '\n' || data[i] == '\r' || (unsigned char)data[i] == 0x85 ||
                 (unsigned char)data[i] == 0xa8 || (unsigned char)data[i] == 0xa9;
        lines += data[i] == '\0' || (i > 0 && data[i - 1] == '\0'); /* UTF-16 */
    }
    return lines;
}

static void check_again(const struct items *items)
{
    static struct sluice_report report;
    struct items again = {.is_plain = 1};
    char *yaml = write_plainly(items);
    memset(&report, 0, sizeof report);
    again.lines = lines_of(yaml, strlen(yaml));
    sluice_config_file_read(fuzz_scratch_file(yaml, strlen(yaml)), on_item, &again, &report);
    FUZZ_CHECK(report.count == 0 && again.count == items->count);
    for (size_t i = 0; i < items->count; i++) {
        FUZZ_CHECK(strcmp(items->texts[i][0], again.texts[i][0]) == 0);
        FUZZ_CHECK(strcmp(items->texts[i][1], again.texts[i][1]) == 0);
    }
    items_fini(&again);
    free(yaml);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sluice_report report;
    struct items items = {.is_plain = 1, .lines = lines_of((const char *)data, size)};
    memset(&report, 0, sizeof report);
    sluice_config_file_read(fuzz_scratch_file(data, size), on_item, &items, &report);
    FUZZ_CHECK(report.len < sizeof report.text && strlen(report.text) == report.len);
    FUZZ_CHECK((report.count == 0) == (report.len == 0));
    if (report.count == 0 && items.is_plain && items.count != 0) {
        check_again(&items);
    }
    items_fini(&items);
    return 0;
}
