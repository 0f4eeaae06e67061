/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *resize(void *ctx, void *p, size_t size)
{
    struct fixture *f = ctx;
    if (size == 0) {
        f->open -= p != NULL;
        free(p);
        return NULL;
    }
    f->calls++;
    if (f->fail_at != 0 && f->calls >= f->fail_at) {
        return NULL;
    }
    void *memory = realloc(p, size);
    f->open += p == NULL && memory != NULL;
    return memory;
}

void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->allocator = (struct sluice_allocator){.resize = resize, .ctx = f};
    sluice_arena_init(&f->arena, &f->allocator, 256, 0);
}

void fixture_fini(struct fixture *f)
{
    sluice_arena_fini(&f->arena);
    assert_int_equal(f->open, 0);
}

sluice_bytes text_bytes(const char *text)
{
    return (sluice_bytes){.data = text, .len = strlen(text)};
}

sluice_bytes fixture_exact(const void *data, size_t len)
{
    void *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    if (len != 0) {
        memcpy(copy, data, len);
    }
    return (sluice_bytes){.data = copy, .len = len};
}

void fixture_exact_free(sluice_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void set_scalars(Rich__V1__Rich *rich)
{
    static uint8_t blob[] = {0x00, 0xff, 0x10, 0x80};
    rich->int32_field = INT32_MIN;
    rich->sint32_field = -7;
    rich->sfixed32_field = INT32_MAX;
    rich->int64_field = INT64_MIN;
    rich->sint64_field = INT64_MAX;
    rich->sfixed64_field = -9007199254740993;
    rich->uint32_field = UINT32_MAX;
    rich->fixed32_field = 4000000000u;
    rich->uint64_field = UINT64_MAX;
    rich->fixed64_field = 9007199254740993u;
    rich->float_field = 0.1f;
    rich->double_field = -1.0 / 3;
    rich->bool_field = 1;
    rich->kind = RICH__V1__KIND__KIND_BELOW;
    rich->text =
        (char *)"quote \" backslash \\ newline \n \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 end";
    rich->blob = (ProtobufCBinaryData){.len = sizeof blob, .data = blob};
    rich->camelname = (char *)"camel";
    rich->trailing_2_digits = (char *)"last";
}

static void set_lists(Rich__V1__Rich *rich)
{
    static int32_t numbers[] = {0, -1, 300};
    static int64_t loose_numbers[] = {INT64_MIN, 5};
    static double doubles[] = {0.5, 1e300, -2};
    static uint32_t loose_fixed[] = {1, UINT32_MAX};
    static protobuf_c_boolean flags[] = {1, 0, 1};
    static Rich__V1__Kind kinds[] = {RICH__V1__KIND__KIND_SECOND, RICH__V1__KIND__KIND_UNSPECIFIED,
                                     RICH__V1__KIND__KIND_BELOW};
    static char *texts[] = {(char *)"", (char *)"one", (char *)"two"};
    static uint8_t byte = 7;
    static ProtobufCBinaryData blobs[] = {{.len = 0}, {.len = 1, .data = &byte}};
    static uint64_t big_numbers[] = {UINT64_MAX, 0};
    static float floats[] = {3.4028235e38f, -0.25f};
    rich->n_numbers = COUNT(numbers);
    rich->numbers = numbers;
    rich->n_loose_numbers = COUNT(loose_numbers);
    rich->loose_numbers = loose_numbers;
    rich->n_doubles = COUNT(doubles);
    rich->doubles = doubles;
    rich->n_loose_fixed = COUNT(loose_fixed);
    rich->loose_fixed = loose_fixed;
    rich->n_flags = COUNT(flags);
    rich->flags = flags;
    rich->n_kinds = COUNT(kinds);
    rich->kinds = kinds;
    rich->n_texts = COUNT(texts);
    rich->texts = texts;
    rich->n_blobs = COUNT(blobs);
    rich->blobs = blobs;
    rich->n_big_numbers = COUNT(big_numbers);
    rich->big_numbers = big_numbers;
    rich->n_floats = COUNT(floats);
    rich->floats = floats;
}

static Rich__V1__Leaf *leaf_of(Rich__V1__Leaf *leaf, const char *name, double score)
{
    rich__v1__leaf__init(leaf);
    leaf->name = (char *)(uintptr_t)name;
    leaf->score = score;
    leaf->kind = RICH__V1__KIND__KIND_FIRST;
    return leaf;
}

static void set_maps(Rich__V1__Rich *rich)
{
    static Rich__V1__Rich__AttributesEntry words[3];
    static Rich__V1__Rich__AttributesEntry *attributes[] = {&words[0], &words[1], &words[2]};
    static Rich__V1__Rich__LeavesByNumberEntry numbered;
    static Rich__V1__Rich__LeavesByNumberEntry *leaves[] = {&numbered};
    static Rich__V1__Rich__TotalsEntry sums[2];
    static Rich__V1__Rich__TotalsEntry *totals[] = {&sums[0], &sums[1]};
    static Rich__V1__Rich__KindsByNameEntry named;
    static Rich__V1__Rich__KindsByNameEntry *kinds[] = {&named};
    static Rich__V1__Rich__BlobsByNumberEntry blobbed;
    static Rich__V1__Rich__BlobsByNumberEntry *blobs[] = {&blobbed};
    static Rich__V1__Leaf leaf;
    static uint8_t byte = 0xfe;
    static const char *const keys[] = {"colour", "", "$a.b%"};
    for (size_t i = 0; i < COUNT(words); i++) {
        rich__v1__rich__attributes_entry__init(&words[i]);
        words[i].key = (char *)(uintptr_t)keys[i];
        words[i].value = i == 0 ? (char *)"red" : (char *)"";
    }
    rich__v1__rich__leaves_by_number_entry__init(&numbered);
    numbered.key = -5;
    numbered.value = leaf_of(&leaf, "numbered", 2.5);
    for (size_t i = 0; i < COUNT(sums); i++) {
        rich__v1__rich__totals_entry__init(&sums[i]);
        sums[i].key = (protobuf_c_boolean)i;
        sums[i].value = (int64_t)i * INT64_MAX;
    }
    rich__v1__rich__kinds_by_name_entry__init(&named);
    named.key = (char *)"second";
    named.value = RICH__V1__KIND__KIND_SECOND;
    rich__v1__rich__blobs_by_number_entry__init(&blobbed);
    blobbed.key = UINT64_MAX;
    blobbed.value = (ProtobufCBinaryData){.len = 1, .data = &byte};
    rich->n_attributes = COUNT(attributes);
    rich->attributes = attributes;
    rich->n_leaves_by_number = COUNT(leaves);
    rich->leaves_by_number = leaves;
    rich->n_totals = COUNT(totals);
    rich->totals = totals;
    rich->n_kinds_by_name = COUNT(kinds);
    rich->kinds_by_name = kinds;
    rich->n_blobs_by_number = COUNT(blobs);
    rich->blobs_by_number = blobs;
}

const Rich__V1__Rich *fixture_rich(void)
{
    static Rich__V1__Rich rich;
    static Rich__V1__Rich child;
    static Rich__V1__Rich others[2];
    static Rich__V1__Rich *children[] = {&others[0], &others[1]};
    static Rich__V1__Leaf leaves_of_rich[4];
    static Rich__V1__Leaf *leaves[] = {&leaves_of_rich[1], &leaves_of_rich[2]};
    rich__v1__rich__init(&rich);
    rich__v1__rich__init(&child);
    rich__v1__rich__init(&others[0]);
    rich__v1__rich__init(&others[1]);
    set_scalars(&rich);
    set_lists(&rich);
    set_maps(&rich);
    rich.leaf = leaf_of(&leaves_of_rich[0], "leaf", 0.875);
    (void)leaf_of(&leaves_of_rich[1], "first", 1);
    (void)leaf_of(&leaves_of_rich[2], "", 0);
    leaves_of_rich[2].kind = RICH__V1__KIND__KIND_UNSPECIFIED;
    rich.n_leaves = COUNT(leaves);
    rich.leaves = leaves;
    rich.choice_case = RICH__V1__RICH__CHOICE_CHOSEN_LEAF;
    rich.chosen_leaf = leaf_of(&leaves_of_rich[3], "chosen", -1);
    rich.maybe_count_case = RICH__V1__RICH__MAYBE_COUNT_COUNT;
    rich.count = 0;
    child.text = (char *)"child";
    child.choice_case = RICH__V1__RICH__CHOICE_CHOSEN_NUMBER;
    rich.child = &child;
    rich.n_children = COUNT(children);
    rich.children = children;
    others[1].choice_case = RICH__V1__RICH__CHOICE_CHOSEN_TEXT;
    others[1].chosen_text = (char *)"text of the second";
    return &rich;
}
