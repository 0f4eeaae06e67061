/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/answer.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define DEPTH_MAX 8
#define REFS_MAX  8  /* references to references */
#define SPAN      15 /* of a whole number that only one side limits */
#define ITEMS_MAX 64
#define TEXT_SIZE 1024

struct words {
    char text[WORDS_MAX][40];
    int count, next, is_blank;
    uint64_t hash;
    const cJSON *root; /* of the schema */
};

static int is_new(const struct words *w, const char *word)
{
    for (int i = 0; i < w->count; i++) {
        if (strcmp(w->text[i], word) == 0) {
            return 0;
        }
    }
    return 1;
}

/* The last distinct words of four letters and more: the variable part of a prompt stands at its
 * end. */
static void words_take(struct words *w, const char *prompt)
{
    size_t len = strlen(prompt);
    w->hash = 1469598103934665603u;
    for (size_t i = 0; i < len; i++) {
        w->hash = (w->hash ^ (unsigned char)prompt[i]) * 1099511628211u;
    }
    size_t end = len;
    while (end > 0 && w->count < WORDS_MAX) {
        while (end > 0 && !isalnum((unsigned char)prompt[end - 1])) {
            end--;
        }
        size_t start = end;
        while (start > 0 &&
               (isalnum((unsigned char)prompt[start - 1]) || prompt[start - 1] == '-')) {
            start--;
        }
        char word[40];
        size_t n = end - start;
        if (n >= 4 && n < sizeof word) {
            memcpy(word, prompt + start, n);
            word[n] = '\0';
            if (is_new(w, word)) {
                memcpy(w->text[w->count++], word, n + 1);
            }
        }
        end = start;
    }
}

/* The next `count` words, in the order in which the prompt has them. */
static void sentence(struct words *w, int count, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "About");
    for (int i = count - 1; i >= 0 && n < size - 48; i--) {
        const char *word = w->count == 0 ? "nothing" : w->text[(w->next + i) % w->count];
        n += (size_t)snprintf(out + n, size - n, " %s", word);
    }
    w->next += count;
    (void)snprintf(out + n, size - n, ".");
}

/* ---- Reading a schema ---- */

/* A token of a JSON pointer (RFC 6901), whose ~1 and ~0 stand for / and ~. */
static const cJSON *pointer_step(const cJSON *at, const char *token, size_t len)
{
    const cJSON *child;
    cJSON_ArrayForEach(child, at)
    {
        const char *name = child->string;
        size_t i = 0;
        for (; name != NULL && *name != '\0' && i < len; name++, i++) {
            char c = token[i];
            if (c == '~' && i + 1 < len) {
                c = token[++i] == '1' ? '/' : '~';
            }
            if (*name != c) {
                break;
            }
        }
        if (name != NULL && *name == '\0' && i == len) {
            return child;
        }
    }
    return NULL;
}

/* {"$ref": "#/$defs/name"} and what else points into the same schema. NULL: nowhere. */
static const cJSON *pointed_at(const cJSON *root, const char *ref)
{
    const cJSON *at = ref[0] == '#' ? root : NULL;
    for (const char *p = ref + (ref[0] == '#'); at != NULL && *p == '/';) {
        size_t len = strcspn(p + 1, "/");
        at = pointer_step(at, p + 1, len);
        p += 1 + len;
    }
    return at;
}

static int is_null_type(const cJSON *schema)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
    return cJSON_IsString(type) && strcmp(type->valuestring, "null") == 0;
}

/* The first of some schemas that says more than null. */
static const cJSON *first_of(const cJSON *schemas)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, schemas)
    {
        if (!is_null_type(one)) {
            return one;
        }
    }
    return schemas->child;
}

/* The schema that is meant, behind references and choices. */
static const cJSON *schema_find(const struct words *w, const cJSON *schema)
{
    static const char *const choices[] = {"anyOf", "oneOf", "allOf"};
    for (int i = 0; i < REFS_MAX && schema != NULL; i++) {
        const cJSON *ref = cJSON_GetObjectItemCaseSensitive(schema, "$ref");
        const cJSON *next = cJSON_IsString(ref) ? pointed_at(w->root, ref->valuestring) : NULL;
        for (size_t k = 0; next == NULL && k < sizeof choices / sizeof choices[0]; k++) {
            const cJSON *some = cJSON_GetObjectItemCaseSensitive(schema, choices[k]);
            next = cJSON_GetArraySize(some) > 0 ? first_of(some) : NULL;
        }
        if (next == NULL) {
            break;
        }
        schema = next;
    }
    return schema;
}

/* "string" where nothing is said; of several types the first that is not null. */
static const char *type_of(const cJSON *schema)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
    const cJSON *one;
    if (cJSON_IsString(type)) {
        return type->valuestring;
    }
    cJSON_ArrayForEach(one, type)
    {
        if (cJSON_IsString(one) && strcmp(one->valuestring, "null") != 0) {
            return one->valuestring;
        }
    }
    return cJSON_GetObjectItemCaseSensitive(schema, "properties") != NULL ? "object" : "string";
}

/* A number of the schema, within what a double counts exactly. */
static int limit_read(const cJSON *schema, const char *name, double *value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(schema, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble > -9e15 && item->valuedouble < 9e15)) {
        return 0;
    }
    *value = item->valuedouble;
    return 1;
}

static size_t size_read(const cJSON *schema, const char *name, size_t otherwise)
{
    double value = 0;
    return limit_read(schema, name, &value) && value >= 0 ? (size_t)value : otherwise;
}

static int is_required(const cJSON *schema, const char *name)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(schema, "required"))
    {
        if (cJSON_IsString(one) && strcmp(one->valuestring, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- Making what it asks for ---- */

static cJSON *value_make(struct words *w, const cJSON *schema, const char *name, int depth);

/* All properties; where a type that holds itself has to end, those that are required. */
static cJSON *object_make(struct words *w, const cJSON *schema, int depth)
{
    cJSON *object = cJSON_CreateObject();
    const cJSON *property;
    cJSON_ArrayForEach(property, cJSON_GetObjectItemCaseSensitive(schema, "properties"))
    {
        if (depth < DEPTH_MAX || is_required(schema, property->string)) {
            cJSON_AddItemToObject(object, property->string,
                                  value_make(w, property, property->string, depth + 1));
        }
    }
    return object;
}

static cJSON *array_make(struct words *w, const cJSON *schema, const char *name, int depth)
{
    cJSON *array = cJSON_CreateArray();
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    size_t least = size_read(schema, "minItems", 0);
    size_t most = size_read(schema, "maxItems", ITEMS_MAX);
    size_t count = w->is_blank || depth >= DEPTH_MAX - 1 ? 0 : (size_t)(2 + w->hash % 2);
    count = count < least ? least : count;
    count = count > most ? most : count;
    for (size_t i = 0; i < count && i < ITEMS_MAX; i++) {
        cJSON_AddItemToArray(array, value_make(w, items, name, depth + 1));
    }
    return array;
}

/* The whole number that is not under a value. */
static double ceiling(double value)
{
    double whole = (double)(int64_t)value;
    return whole < value ? whole + 1 : whole;
}

static double integer_make(uint64_t draw, const cJSON *schema)
{
    double low = 0;
    double high = 0;
    double over = 0;
    double under = 0;
    int has_low = limit_read(schema, "minimum", &low);
    int has_high = limit_read(schema, "maximum", &high);
    low = ceiling(low);
    high = -ceiling(-high);
    if (limit_read(schema, "exclusiveMinimum", &over)) {
        over = -ceiling(-over) + 1;
        low = !has_low || over > low ? over : low;
        has_low = 1;
    }
    if (limit_read(schema, "exclusiveMaximum", &under)) {
        under = ceiling(under) - 1;
        high = !has_high || under < high ? under : high;
        has_high = 1;
    }
    low = has_low || !has_high || high >= SPAN ? low : high - SPAN;
    high = has_high && high < low + SPAN ? high : low + SPAN;
    double value = low + (double)(draw % (uint64_t)(high < low ? 1 : high - low + 1));
    double step = 0;
    if (limit_read(schema, "multipleOf", &step) && step >= 1) {
        value = ceiling(low / step) * step; /* the first one: there need not be another */
    }
    return value;
}

/* Never a limit itself where there are two: it may be excluded. */
static double number_make(uint64_t draw, const cJSON *schema)
{
    double low = 0;
    double high = 1;
    int has_low = limit_read(schema, "minimum", &low);
    has_low |= limit_read(schema, "exclusiveMinimum", &low);
    int has_high = limit_read(schema, "maximum", &high);
    has_high |= limit_read(schema, "exclusiveMaximum", &high);
    low = has_low || high > 0 ? low : high - 1;
    high = has_high ? high : low + 1;
    double part = (double)(draw & 0xff) / 256;
    return low + (high - low) * (has_low || has_high ? (part + 1.0 / 512) : part);
}

static cJSON *text_make(struct words *w, const cJSON *schema, const char *name)
{
    char text[TEXT_SIZE] = "";
    if (w->is_blank) {
        return cJSON_CreateString(text);
    }
    sentence(w,
             strcmp(name, "summary") == 0   ? 8
             : strcmp(name, "content") == 0 ? 5
                                            : 1,
             text, sizeof text);
    size_t len = strlen(text);
    size_t least = size_read(schema, "minLength", 0);
    size_t most = size_read(schema, "maxLength", sizeof text - 1);
    while (len < least && len < sizeof text - 1) {
        text[len++] = '.';
    }
    text[len < most ? len : most] = '\0';
    return cJSON_CreateString(text);
}

static cJSON *value_make(struct words *w, const cJSON *given, const char *name, int depth)
{
    const cJSON *schema = schema_find(w, given);
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(schema, "enum");
    const cJSON *only = cJSON_GetObjectItemCaseSensitive(schema, "const");
    const char *kind = type_of(schema);
    if (depth > DEPTH_MAX + 4) {
        return cJSON_CreateNull();
    }
    if (only != NULL) {
        return cJSON_Duplicate(only, 1);
    }
    if (cJSON_GetArraySize(choices) > 0) {
        int n = cJSON_GetArraySize(choices);
        return cJSON_Duplicate(cJSON_GetArrayItem(choices, (int)(w->hash % (unsigned)n)), 1);
    }
    if (strcmp(kind, "object") == 0) {
        return object_make(w, schema, depth);
    }
    if (strcmp(kind, "array") == 0) {
        return array_make(w, schema, name, depth);
    }
    w->hash = w->hash * 6364136223846793005u + 1442695040888963407u;
    if (strcmp(kind, "number") == 0) {
        return cJSON_CreateNumber(number_make(w->hash >> 33, schema));
    }
    if (strcmp(kind, "integer") == 0) {
        return cJSON_CreateNumber(integer_make(w->hash >> 33, schema));
    }
    if (strcmp(kind, "boolean") == 0) {
        return cJSON_CreateBool((int)(w->hash >> 40 & 1));
    }
    return strcmp(kind, "null") == 0 ? cJSON_CreateNull() : text_make(w, schema, name);
}

static char *content_make(const char *prompt, const cJSON *schema, int is_blank)
{
    struct words *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    words_take(w, prompt);
    w->is_blank = is_blank;
    w->root = schema;
    char *content = NULL;
    if (schema == NULL) {
        content = malloc(TEXT_SIZE);
        if (content != NULL) {
            content[0] = '\0';
            if (!is_blank) {
                sentence(w, 12, content, TEXT_SIZE);
            }
        }
    } else {
        cJSON *value = value_make(w, schema, "", 0);
        content = cJSON_PrintUnformatted(value);
        cJSON_Delete(value);
    }
    free(w);
    return content;
}

char *llmsim_content(const char *prompt, const cJSON *schema)
{
    return content_make(prompt, schema, 0);
}

char *llmsim_content_blank(const cJSON *schema)
{
    return content_make("", schema, 1);
}

unsigned llmsim_tokens(const char *text)
{
    unsigned words = 0;
    for (const char *p = text; *p != '\0'; p++) {
        words += isalnum((unsigned char)*p) && !isalnum((unsigned char)p[1]);
    }
    return words + words / 3;
}
