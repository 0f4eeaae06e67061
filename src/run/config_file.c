/* SPDX-License-Identifier: Apache-2.0 */
/* worker.yaml by libyaml's events: two levels of plain keys and scalars, three in `services`
 * and `llm.headers`;
 * aliases, anchors and tags are refused. What is refused is passed over as a whole, so that one
 * reading finds all errors. */
#include "run/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define FILE_SIZE_MAX (256u * 1024u)
#define DEPTH_MAX     3
#define SECTIONS_MAX  64 /* that are told when they come twice, services among them */

/* Between the entries of a mapping, or behind a key whose value comes next. */
enum place { AT_KEY, AT_VALUE, AT_REFUSED_VALUE };

struct section {
    char name[168]; /* nats, services.crm */
    unsigned line;
};

struct reader {
    const char *path;
    sluice_config_item_fn *item;
    void *ctx;
    struct sluice_report *report;
    enum place place;
    int depth;                /* mappings that are open */
    int skipped;              /* mappings and lists that are open inside something refused */
    int documents;            /* begun so far */
    char keys[DEPTH_MAX][80]; /* section, key or service, key of the service or header */
    unsigned line, column;    /* of the newest key */
    struct section sections[SECTIONS_MAX];
    int sections_count;
};

static void complain(struct reader *r, const yaml_event_t *e, const char *what)
{
    const struct sluice_place place = {.file = r->path,
                                       .line = (unsigned)e->start_mark.line + 1,
                                       .column = (unsigned)e->start_mark.column + 1};
    sluice_report_add(r->report, &place, "%s", what);
}

/* About the newest key, by its name. */
static void complain_of_key(struct reader *r, const char *name, const char *what)
{
    const struct sluice_place place = {
        .option = name, .file = r->path, .line = r->line, .column = r->column};
    sluice_report_add(r->report, &place, "%s", what);
}

/* YAML has no key twice. Read together, a section far below would change what stands above. */
static void section_begins(struct reader *r)
{
    struct section s = {.line = r->line};
    int is_inner = r->depth == 2;
    (void)snprintf(s.name, sizeof s.name, "%s%s%s", r->keys[0], is_inner ? "." : "",
                   is_inner ? r->keys[1] : "");
    for (int i = 0; i < r->sections_count; i++) {
        if (strcmp(r->sections[i].name, s.name) == 0) {
            char text[64];
            (void)snprintf(text, sizeof text, "a second time, the first is in line %u",
                           r->sections[i].line);
            complain_of_key(r, s.name, text);
            return;
        }
    }
    if (r->sections_count < SECTIONS_MAX) {
        r->sections[r->sections_count++] = s;
    }
}

/* How deep the values stand where the reader is. */
static int depth_of_values(const struct reader *r)
{
    int is_headers =
        r->depth >= 2 && strcmp(r->keys[0], "llm") == 0 && strcmp(r->keys[1], "headers") == 0;
    return is_headers || strcmp(r->keys[0], "services") == 0 ? 3 : 2;
}

/* A key or a value has been passed, good or not. */
static void passed(struct reader *r)
{
    if (r->depth > 0) {
        r->place = r->place == AT_KEY ? AT_REFUSED_VALUE : AT_KEY;
    }
}

static void give_item(struct reader *r, const char *value)
{
    char name[256];
    size_t len = (size_t)snprintf(name, sizeof name, "%s.%s", r->keys[0], r->keys[1]);
    if (r->depth == 3) {
        (void)snprintf(name + len, sizeof name - len, ".%s", r->keys[2]);
    }
    r->item(r->ctx, name, value, r->line, r->column);
}

static void key(struct reader *r, const yaml_event_t *e, const char *text)
{
    if (strlen(text) >= sizeof r->keys[0]) {
        complain(r, e, "a key of more than 79 bytes");
        r->place = AT_REFUSED_VALUE;
        return;
    }
    (void)snprintf(r->keys[r->depth - 1], sizeof r->keys[0], "%s", text);
    r->place = AT_VALUE;
    r->line = (unsigned)e->start_mark.line + 1;
    r->column = (unsigned)e->start_mark.column + 1;
}

static int is_null(const yaml_event_t *e, const char *value)
{
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
}

static void value(struct reader *r, const yaml_event_t *e, const char *text)
{
    r->place = AT_KEY;
    if (r->depth >= depth_of_values(r)) {
        if (is_null(e, text)) {
            complain(r, e, "null is no value; \"\" is the empty text");
        } else {
            give_item(r, text);
        }
    } else if (text[0] != '\0' && !is_null(e, text)) {
        complain_of_key(r, r->keys[r->depth - 1], "expected a section with keys");
    } else if (r->depth == 2) {
        give_item(r, ""); /* a service without keys, no headers */
    }
}

static void scalar(struct reader *r, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    if (r->place == AT_REFUSED_VALUE) {
        passed(r);
    } else if (e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL) {
        complain(r, e, "anchors and tags are not supported");
        passed(r);
    } else if (strlen(text) != e->data.scalar.length) {
        complain(r, e, "a NUL in a text");
        passed(r);
    } else if (r->depth == 0) {
        complain(r, e, "expected sections like `nats:`");
    } else if (r->place == AT_KEY) {
        key(r, e, text);
    } else {
        value(r, e, text);
    }
}

/* NULL: read it, else why not. */
static const char *mapping_fault(const struct reader *r)
{
    if (r->depth > 0 && r->place == AT_KEY) {
        return "a key must be a plain text";
    }
    return r->depth > 0 && r->depth >= depth_of_values(r) ? "nested deeper than section and key"
                                                          : NULL;
}

static void mapping(struct reader *r, const yaml_event_t *e)
{
    const char *fault = mapping_fault(r);
    if (r->place == AT_REFUSED_VALUE) {
        r->skipped = 1;
        return;
    }
    if (e->data.mapping_start.anchor != NULL || e->data.mapping_start.tag != NULL) {
        complain(r, e, "anchors and tags are not supported");
    }
    if (fault != NULL) {
        complain(r, e, fault);
        r->skipped = 1;
        return;
    }
    if (r->depth > 0) {
        section_begins(r);
    }
    r->depth++;
    r->place = AT_KEY;
}

static void skip(struct reader *r, const yaml_event_t *e)
{
    if (e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT) {
        r->skipped++;
    } else if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT) {
        if (--r->skipped == 0) {
            passed(r);
        }
    }
}

/* 0: stop. */
static int event(struct reader *r, const yaml_event_t *e)
{
    if (r->skipped > 0) {
        skip(r, e);
        return 1;
    }
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (r->documents++ > 0) {
            complain(r, e, "expected one document");
            return 0;
        }
        return 1;
    case YAML_ALIAS_EVENT:
        complain(r, e, "aliases are not supported");
        passed(r);
        return 1;
    case YAML_SEQUENCE_START_EVENT:
        if (r->place != AT_REFUSED_VALUE) {
            complain(r, e, "lists are not supported here");
        }
        r->skipped = 1;
        return 1;
    case YAML_MAPPING_START_EVENT:
        mapping(r, e);
        return 1;
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        r->place = AT_KEY;
        return 1;
    case YAML_SCALAR_EVENT:
        scalar(r, e);
        return 1;
    default:
        return e->type != YAML_STREAM_END_EVENT;
    }
}

void sluice_config_file_read(const char *path, sluice_config_item_fn *item, void *ctx,
                             struct sluice_report *report)
{
    const struct sluice_place file_place = {.file = path};
    FILE *file = fopen(path, "re");
    char *text = malloc(FILE_SIZE_MAX + 1);
    if (file == NULL || text == NULL) {
        sluice_report_add(report, &file_place, "%s", strerror(errno));
        free(text);
        if (file != NULL) {
            (void)fclose(file);
        }
        return;
    }
    size_t len = fread(text, 1, FILE_SIZE_MAX + 1, file);
    if (ferror(file)) { /* a folder, for one, opens like a file */
        sluice_report_add(report, &file_place, "%s", strerror(errno));
        (void)fclose(file);
        free(text);
        return;
    }
    (void)fclose(file);
    yaml_parser_t parser;
    if (len > FILE_SIZE_MAX || yaml_parser_initialize(&parser) == 0) {
        sluice_report_add(report, &file_place, "more than 256 KiB");
        free(text);
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    struct reader r = {.path = path, .item = item, .ctx = ctx, .report = report};
    int goes_on = 1;
    while (goes_on) {
        yaml_event_t e;
        if (yaml_parser_parse(&parser, &e) == 0) {
            const struct sluice_place place = {.file = path,
                                               .line = (unsigned)parser.problem_mark.line + 1,
                                               .column = (unsigned)parser.problem_mark.column + 1};
            sluice_report_add(report, &place, "%s",
                              parser.problem == NULL ? "not YAML" : parser.problem);
            break;
        }
        goes_on = event(&r, &e);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    free(text);
}
