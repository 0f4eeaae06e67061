/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/mongo_body.h"
#include <bson/bson.h>
#include <string.h>

static const char *fault_of(const bson_t *document)
{
    return sluice_mongo_body_fault(
        (sluice_bytes){.data = bson_get_data(document), .len = document->len});
}

static const char *json_fault(const char *json)
{
    bson_error_t error;
    bson_t *document = bson_new_from_json((const uint8_t *)json, -1, &error);
    if (document == NULL) {
        fail_msg("%s: %s", json, error.message);
    }
    const char *fault = fault_of(document);
    bson_destroy(document);
    return fault;
}

static void sound_bodies_pass(void **state)
{
    (void)state;
    assert_null(json_fault("{}"));
    assert_null(json_fault("{\"a\":1,\"b\":[1,{\"c\":null}],\"\":{\"$set\":1,\"_id\":2}}"));
    assert_null(json_fault("{\"a.b\":\"Za\\u017c\\u00f3\\u0142\\u0107 \\ud83d\\udc19\","
                           "\"n\":{\"$numberLong\":\"9223372036854775807\"}}"));
    assert_null(json_fault("{\"bin\":{\"$binary\":{\"base64\":\"AAEC\",\"subType\":\"00\"}},"
                           "\"at\":{\"$date\":{\"$numberLong\":\"0\"}}}"));
}

static void top_level_names_are_checked(void **state)
{
    (void)state;
    assert_string_equal(json_fault("{\"a\":1,\"_id\":1}"), "the body has an _id of its own");
    assert_string_equal(json_fault("{\"$set\":{\"a\":1}}"), "a field name begins with $");
}

static bson_t *nested(uint32_t levels)
{
    bson_t *document = bson_new();
    for (uint32_t i = 1; i < levels; i++) {
        bson_t *outer = bson_new();
        BSON_APPEND_DOCUMENT(outer, "a", document);
        bson_destroy(document);
        document = outer;
    }
    return document;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    for (uint32_t levels = SLUICE_MONGO_DEPTH_MAX - 1; levels <= SLUICE_MONGO_DEPTH_MAX + 1;
         levels++) {
        bson_t *document = nested(levels);
        assert_int_equal(fault_of(document) != NULL, levels > SLUICE_MONGO_DEPTH_MAX);
        bson_destroy(document);
    }
}

/* Whatever one byte is changed to, the check ends and libbson can walk what passes. */
static void damaged_bodies_are_survived(void **state)
{
    (void)state;
    bson_t *document = bson_new_from_json(
        (const uint8_t *)"{\"text\":\"abc\",\"list\":[1,\"x\",{\"d\":2.5}],\"flag\":true}", -1,
        NULL);
    uint8_t bytes[256];
    size_t len = document->len;
    assert_true(len < sizeof bytes);
    uint32_t refused = 0;
    for (size_t i = 0; i < len; i++) {
        for (int value = 0; value < 256; value++) {
            memcpy(bytes, bson_get_data(document), len);
            bytes[i] = (uint8_t)value;
            refused += sluice_mongo_body_fault((sluice_bytes){.data = bytes, .len = len}) != NULL;
        }
    }
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(bytes, bson_get_data(document), len);
        assert_non_null(sluice_mongo_body_fault((sluice_bytes){.data = bytes, .len = cut}));
    }
    assert_true(refused > 1000);
    bson_destroy(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_bodies_pass),
        cmocka_unit_test(top_level_names_are_checked),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(damaged_bodies_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
