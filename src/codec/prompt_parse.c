/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/prompt_node.h"

#include "codec/number.h"
#include "codec/utf8.h"
#include <stdio.h>
#include <string.h>

#define MODEL_MAX 128u /* bytes of a model's name */

struct parser {
    struct sluice_prompt *prompt;
    const char *begin, *end; /* the source */
    const char *part_end;
    const char *known; /* line and column are known for this place */
    const char *line_begin;
    uint32_t line;
    uint32_t open[SLUICE_PROMPT_DEPTH_MAX]; /* sections that are not closed yet */
    uint32_t depth;
    struct sluice_err *err;
};

/* Count lines up to `at`, which never goes back by more than a line's beginning. */
static void locate(struct parser *p, const char *at)
{
    for (; p->known < at; p->known++) {
        if (*p->known == '\n') {
            p->line++;
            p->line_begin = p->known + 1;
        }
    }
}

static uint32_t column_of(const struct parser *p, const char *at)
{
    uint32_t column = 1;
    for (const char *c = p->line_begin; c < at; c++) {
        column += ((unsigned char)*c & 0xc0) != 0x80;
    }
    return column;
}

SLUICE_PRINTF(3, 4)
static sluice_rc fail(struct parser *p, const char *at, const char *format, ...)
{
    char reason[160];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    locate(p, at);
    return sluice_err_set(p->err, SLUICE_ERR_CONFIG, "%s:%u:%u: %s", p->prompt->name, p->line,
                          column_of(p, at), reason);
}

static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline == NULL ? end : newline;
}

/* Behind the newline, if there is one. */
static const char *next_line(const char *at, const char *end)
{
    const char *stop = line_end(at, end);
    return stop == end ? end : stop + 1;
}

static int is_blank_char(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int is_blank(const char *from, const char *to)
{
    while (from < to && is_blank_char(*from)) {
        from++;
    }
    return from == to;
}

/* Is the line at `at` this word, but for blanks behind it? */
static int is_line(const char *at, const char *end, const char *word)
{
    size_t len = strlen(word);
    const char *stop = line_end(at, end);
    return (size_t)(stop - at) >= len && memcmp(at, word, len) == 0 && is_blank(at + len, stop);
}

static sluice_rc add_node(struct parser *p, struct prompt_node node, const char *at)
{
    struct sluice_prompt *prompt = p->prompt;
    if (prompt->nodes_count == prompt->nodes_size) {
        uint32_t size = prompt->nodes_size == 0 ? 32 : prompt->nodes_size * 2;
        struct prompt_node *nodes = sluice_arena_alloc(&prompt->arena, size, sizeof *nodes);
        if (nodes == NULL) {
            return sluice_err_set(p->err, SLUICE_ERR_NOMEM, "%s: out of memory", prompt->name);
        }
        if (prompt->nodes_count > 0) {
            memcpy(nodes, prompt->nodes, prompt->nodes_count * sizeof *nodes);
        }
        prompt->nodes = nodes;
        prompt->nodes_size = size;
    }
    locate(p, at);
    node.line = p->line;
    node.column = column_of(p, at);
    prompt->nodes[prompt->nodes_count++] = node;
    return SLUICE_OK;
}

static sluice_rc add_text(struct parser *p, const char *from, const char *to)
{
    if (from >= to) {
        return SLUICE_OK;
    }
    struct prompt_node node = {.kind = PROMPT_TEXT, .text = from, .len = (size_t)(to - from)};
    return add_node(p, node, from);
}

/* One tag of the text. */
struct tag {
    const char *begin, *end; /* with its braces */
    char sigil;              /* one of # ^ / ! or 0 */
    const char *name;
    size_t name_len;
    int is_json;
};

static int is_name(const char *name, size_t len)
{
    int is_start = 1; /* of a segment between dots */
    if (len == 1 && name[0] == '.') {
        return 1;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        int is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        int is_digit = c >= '0' && c <= '9';
        if (!(is_letter || (is_digit && !is_start) || (c == '.' && !is_start))) {
            return 0;
        }
        is_start = c == '.';
    }
    return len > 0 && !is_start;
}

static void trim(const char **from, const char **to)
{
    while (*from < *to && is_blank_char(**from)) {
        (*from)++;
    }
    while (*from < *to && is_blank_char((*to)[-1])) {
        (*to)--;
    }
}

static const char *find(const char *from, const char *to, const char *what)
{
    size_t len = strlen(what);
    for (; (size_t)(to - from) >= len; from++) {
        from = memchr(from, what[0], (size_t)(to - from) - len + 1);
        if (from == NULL) {
            return NULL;
        }
        if (memcmp(from, what, len) == 0) {
            return from;
        }
    }
    return NULL;
}

static sluice_rc read_name(struct parser *p, struct tag *tag, const char *from, const char *to)
{
    trim(&from, &to);
    const char *bar = memchr(from, '|', (size_t)(to - from));
    if (bar != NULL) {
        const char *filter = bar + 1;
        const char *filter_end = to;
        trim(&filter, &filter_end);
        if (filter_end - filter != 4 || memcmp(filter, "json", 4) != 0) {
            return fail(p, bar, "unknown filter, expected |json");
        }
        if (tag->sigil != 0) {
            return fail(p, bar, "a filter in a section tag, expected a name alone");
        }
        tag->is_json = 1;
        to = bar;
        trim(&from, &to);
    }
    tag->name = from;
    tag->name_len = (size_t)(to - from);
    if (!is_name(from, tag->name_len)) {
        return fail(p, tag->begin, "malformed name, expected a field like a or a.b_c");
    }
    return SLUICE_OK;
}

/* From the two braces at `at`. */
static sluice_rc read_tag(struct parser *p, const char *at, struct tag *tag)
{
    const char *from = at + 2;
    int is_triple = from < p->part_end && *from == '{';
    *tag = (struct tag){.begin = at};
    from += is_triple;
    int is_comment = !is_triple && from < p->part_end && *from == '!';
    const char *stop = is_comment ? p->part_end : line_end(from, p->part_end);
    const char *to = find(from, stop, is_triple ? "}}}" : "}}");
    if (to == NULL) {
        return fail(p, at,
                    is_comment ? "a comment that is not closed" : "{{ without }} on the same line");
    }
    tag->end = to + 2 + is_triple;
    if (is_comment) {
        tag->sigil = '!';
        return SLUICE_OK;
    }
    if (!is_triple && from < to && strchr("#^/", *from) != NULL) {
        tag->sigil = *from++;
    } else if (!is_triple && from < to && strchr(">=&<$", *from) != NULL) {
        return fail(p, at, "{{%c is not part of the subset of mustache that prompts know", *from);
    }
    return read_name(p, tag, from, to);
}

/* Alone on its line, but for blanks? Then that line's beginning and the next one's. */
static int is_standalone(const struct parser *p, const struct tag *tag, const char *part_begin,
                         const char **line_begin, const char **next)
{
    const char *begin = tag->begin;
    if (tag->sigil == 0) {
        return 0;
    }
    while (begin > part_begin && begin[-1] != '\n') {
        begin--;
    }
    if (!is_blank(begin, tag->begin) || !is_blank(tag->end, line_end(tag->end, p->part_end))) {
        return 0;
    }
    *line_begin = begin;
    *next = next_line(tag->end, p->part_end);
    return 1;
}

static sluice_rc close_section(struct parser *p, const struct tag *tag)
{
    struct sluice_prompt *prompt = p->prompt;
    if (p->depth == 0) {
        return fail(p, tag->begin, "{{/%.*s}} closes what is not open", (int)tag->name_len,
                    tag->name);
    }
    struct prompt_node *open = &prompt->nodes[p->open[p->depth - 1]];
    if (open->len != tag->name_len || memcmp(open->text, tag->name, open->len) != 0) {
        return fail(p, tag->begin, "closes \"%.*s\", expected \"%.*s\" of line %u",
                    (int)tag->name_len, tag->name, (int)open->len, open->text, open->line);
    }
    open->end = prompt->nodes_count;
    p->depth--;
    return SLUICE_OK;
}

static sluice_rc add_tag(struct parser *p, const struct tag *tag)
{
    if (tag->sigil == '!') {
        return SLUICE_OK;
    }
    if (tag->sigil == '/') {
        return close_section(p, tag);
    }
    struct prompt_node node = {
        .kind = PROMPT_VALUE, .is_json = tag->is_json, .text = tag->name, .len = tag->name_len};
    if (tag->sigil != 0) {
        node.kind = tag->sigil == '#' ? PROMPT_SECTION : PROMPT_INVERTED;
        if (p->depth == SLUICE_PROMPT_DEPTH_MAX) {
            return fail(p, tag->begin, "sections nested deeper than %u", SLUICE_PROMPT_DEPTH_MAX);
        }
        p->open[p->depth++] = p->prompt->nodes_count;
    }
    return add_node(p, node, tag->begin);
}

static sluice_rc parse_part(struct parser *p, struct prompt_part *part, const char *begin,
                            const char *end)
{
    /* Blank lines around belong to nobody. */
    while (begin < end && is_blank(begin, line_end(begin, end))) {
        begin = next_line(begin, end);
    }
    while (end > begin && (is_blank_char(end[-1]) || end[-1] == '\n')) {
        end--;
    }
    *part = (struct prompt_part){.is_present = 1, .first = p->prompt->nodes_count};
    p->part_end = end;
    const char *text = begin;
    const char *at;
    while ((at = find(text, end, "{{")) != NULL) {
        struct tag tag;
        sluice_rc rc = read_tag(p, at, &tag);
        if (rc != SLUICE_OK) {
            return rc;
        }
        const char *text_end = at;
        const char *next = tag.end;
        (void)is_standalone(p, &tag, begin, &text_end, &next);
        if ((rc = add_text(p, text, text_end)) != SLUICE_OK ||
            (rc = add_tag(p, &tag)) != SLUICE_OK) {
            return rc;
        }
        text = next;
    }
    if (p->depth > 0) {
        const struct prompt_node *open = &p->prompt->nodes[p->open[p->depth - 1]];
        return sluice_err_set(p->err, SLUICE_ERR_CONFIG, "%s:%u:%u: section \"%.*s\" is not closed",
                              p->prompt->name, open->line, open->column, (int)open->len,
                              open->text);
    }
    sluice_rc rc = add_text(p, text, end);
    part->end = p->prompt->nodes_count;
    return rc;
}

static sluice_rc read_setting(struct parser *p, const char *from, const char *to)
{
    struct sluice_prompt_head *head = &p->prompt->head;
    struct sluice_number number = {0};
    const char *colon = memchr(from, ':', (size_t)(to - from));
    if (colon == NULL) {
        return fail(p, from, "expected key: value, or --- at the end of the head");
    }
    size_t key_len = (size_t)(colon - from);
    const char *value = colon + 1;
    trim(&value, &to);
    size_t len = (size_t)(to - value);
    int is_number = sluice_number_parse(value, len, &number);
    if (key_len == 5 && memcmp(from, "model", 5) == 0) {
        if (head->model != NULL || len == 0 || len > MODEL_MAX) {
            return fail(p, from, "model: expected one name of 1 to %u bytes", MODEL_MAX);
        }
        head->model = sluice_arena_copy(&p->prompt->arena, value, len);
        return head->model != NULL
                   ? SLUICE_OK
                   : sluice_err_set(p->err, SLUICE_ERR_NOMEM, "%s: out of memory", p->prompt->name);
    }
    if (key_len == 11 && memcmp(from, "temperature", 11) == 0) {
        if (head->temperature >= 0 || !is_number || number.real < 0 || number.real > 2) {
            return fail(p, from, "temperature: expected one number from 0 to 2");
        }
        head->temperature = number.real;
        return SLUICE_OK;
    }
    if (key_len == 10 && memcmp(from, "max_tokens", 10) == 0) {
        uint32_t tokens = 0;
        if (head->max_tokens != 0 || !is_number || !sluice_number_to_uint32(&number, &tokens) ||
            tokens == 0) {
            return fail(p, from, "max_tokens: expected one whole number above 0");
        }
        head->max_tokens = tokens;
        return SLUICE_OK;
    }
    return fail(p, from, "unknown key, expected model, temperature or max_tokens");
}

/* Sets *at behind the head, if there is one. */
static sluice_rc parse_head(struct parser *p, const char **at)
{
    const char *line = p->begin;
    if (!is_line(line, p->end, "---")) {
        return SLUICE_OK;
    }
    for (line = next_line(line, p->end); line < p->end; line = next_line(line, p->end)) {
        const char *stop = line_end(line, p->end);
        if (is_line(line, p->end, "---")) {
            *at = next_line(line, p->end);
            return SLUICE_OK;
        }
        sluice_rc rc = is_blank(line, stop) ? SLUICE_OK : read_setting(p, line, stop);
        if (rc != SLUICE_OK) {
            return rc;
        }
    }
    return fail(p, p->begin, "a head that is not closed by ---");
}

static struct prompt_part *part_at(struct sluice_prompt *prompt, const char *line, const char *end)
{
    if (is_line(line, end, "# system")) {
        return &prompt->system;
    }
    return is_line(line, end, "# user") ? &prompt->user : NULL;
}

/* The next line that starts a section, or the end. */
static const char *part_stop(struct sluice_prompt *prompt, const char *line, const char *end)
{
    while (line < end && part_at(prompt, line, end) == NULL) {
        line = next_line(line, end);
    }
    return line;
}

static sluice_rc parse_source(struct parser *p)
{
    struct sluice_prompt *prompt = p->prompt;
    const char *at = p->begin;
    sluice_rc rc = parse_head(p, &at);
    if (rc != SLUICE_OK) {
        return rc;
    }
    const char *stop = part_stop(prompt, at, p->end);
    if (stop == p->end) {
        return parse_part(p, &prompt->user, at, p->end);
    }
    for (; at < stop; at = next_line(at, stop)) {
        if (!is_blank(at, line_end(at, stop))) {
            return fail(p, at, "text before the first section");
        }
    }
    while (at < p->end) {
        struct prompt_part *part = part_at(prompt, at, p->end);
        if (part->is_present) {
            return fail(p, at, "a section that comes twice");
        }
        const char *from = next_line(at, p->end);
        stop = part_stop(prompt, from, p->end);
        if ((rc = parse_part(p, part, from, stop)) != SLUICE_OK) {
            return rc;
        }
        at = stop;
    }
    return prompt->user.is_present ? SLUICE_OK : fail(p, p->end, "no section # user");
}

sluice_rc sluice_prompt_parse(const char *name, sluice_bytes source,
                              const struct sluice_allocator *allocator, struct sluice_prompt **out,
                              struct sluice_err *err)
{
    if (source.len > SLUICE_PROMPT_SIZE_MAX) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "%s: more than %u bytes", name,
                              SLUICE_PROMPT_SIZE_MAX);
    }
    size_t span = sluice_utf8_span(source.data, source.len);
    struct sluice_prompt *prompt = sluice_mem_alloc(allocator, 1, sizeof *prompt);
    if (prompt == NULL) {
        return sluice_err_set(err, SLUICE_ERR_NOMEM, "%s: out of memory", name);
    }
    prompt->allocator = *allocator;
    prompt->head.temperature = -1;
    sluice_arena_init(&prompt->arena, &prompt->allocator, 4096, 0);
    prompt->name = sluice_arena_text(&prompt->arena, name);
    const char *text = sluice_arena_copy(&prompt->arena, source.data, source.len);
    sluice_rc rc;
    if (prompt->name == NULL || text == NULL) {
        rc = sluice_err_set(err, SLUICE_ERR_NOMEM, "%s: out of memory", name);
    } else {
        struct parser p = {.prompt = prompt,
                           .begin = text,
                           .end = text + source.len,
                           .known = text,
                           .line_begin = text,
                           .line = 1,
                           .err = err};
        rc = span == source.len ? parse_source(&p)
                                : fail(&p, text + span, "expected UTF-8 text without NUL");
    }
    if (rc != SLUICE_OK) {
        sluice_prompt_destroy(prompt);
        return rc;
    }
    *out = prompt;
    return SLUICE_OK;
}

void sluice_prompt_destroy(struct sluice_prompt *prompt)
{
    if (prompt == NULL) {
        return;
    }
    struct sluice_allocator allocator = prompt->allocator;
    sluice_arena_fini(&prompt->arena);
    sluice_mem_free(&allocator, prompt);
}

const struct sluice_prompt_head *sluice_prompt_head(const struct sluice_prompt *prompt)
{
    return &prompt->head;
}
