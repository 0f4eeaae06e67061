/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/answer.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define DEPTH_MAX 8

struct words {
    char text[WORDS_MAX][40];
    int count, next, is_blank;
    uint64_t hash;
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

static cJSON *value_make(struct words *w, const cJSON *schema, const char *name, int depth);

static cJSON *object_make(struct words *w, const cJSON *schema, int depth)
{
    cJSON *object = cJSON_CreateObject();
    const cJSON *property;
    cJSON_ArrayForEach(property, cJSON_GetObjectItemCaseSensitive(schema, "properties"))
    {
        cJSON_AddItemToObject(object, property->string,
                              value_make(w, property, property->string, depth + 1));
    }
    return object;
}

static cJSON *array_make(struct words *w, const cJSON *schema, const char *name, int depth)
{
    cJSON *array = cJSON_CreateArray();
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    uint64_t count = w->is_blank ? 0 : 2 + w->hash % 2;
    for (uint64_t i = 0; i < count; i++) {
        cJSON_AddItemToArray(array, value_make(w, items, name, depth + 1));
    }
    return array;
}

static cJSON *value_make(struct words *w, const cJSON *schema, const char *name, int depth)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type");
    const char *kind = cJSON_IsString(type) ? type->valuestring : "string";
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(schema, "enum");
    if (depth > DEPTH_MAX) {
        return cJSON_CreateNull();
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
        return cJSON_CreateNumber((double)(w->hash >> 33 & 0xff) / 256);
    }
    if (strcmp(kind, "integer") == 0) {
        return cJSON_CreateNumber((double)(w->hash >> 33 & 0xf));
    }
    if (strcmp(kind, "boolean") == 0) {
        return cJSON_CreateBool((int)(w->hash >> 40 & 1));
    }
    char text[1024] = "";
    if (w->is_blank) {
        return cJSON_CreateString(text);
    }
    sentence(w,
             strcmp(name, "summary") == 0   ? 8
             : strcmp(name, "content") == 0 ? 5
                                            : 1,
             text, sizeof text);
    return cJSON_CreateString(text);
}

static char *content_make(const char *prompt, const cJSON *schema, int is_blank)
{
    struct words *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    words_take(w, prompt);
    w->is_blank = is_blank;
    char *content = NULL;
    if (schema == NULL) {
        content = malloc(1024);
        if (content != NULL) {
            content[0] = '\0';
            if (!is_blank) {
                sentence(w, 12, content, 1024);
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
