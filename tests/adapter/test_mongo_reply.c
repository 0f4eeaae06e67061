/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/mongo_reply.h"
#include <string.h>

struct row {
    const char *json;
    uint32_t count;
    enum sluice_mongo_account account;
    const char *states; /* of a complete one: S stored, F failed */
};

static const struct row rows[] = {
    /* MongoDB: mixed, and with errors of single documents */
    {"{\"nMatched\":2,\"nUpserted\":1,\"upserted\":[{\"index\":1,\"_id\":\"b\"}]}", 3,
     SLUICE_MONGO_COMPLETE, "SSS"},
    {"{\"nMatched\":1,\"nUpserted\":1,\"writeErrors\":[{\"index\":1,\"code\":11000,\"errmsg\":"
     "\"E\"}]}",
     3, SLUICE_MONGO_COMPLETE, "SFS"},
    {"{\"nMatched\":0,\"nUpserted\":0,\"writeErrors\":[{\"index\":0,\"code\":121,\"errmsg\":\"E\"}]"
     "}",
     1, SLUICE_MONGO_COMPLETE, "F"},
    {"{\"nMatched\":{\"$numberLong\":\"2\"},\"nUpserted\":0.0}", 2, SLUICE_MONGO_COMPLETE, "SS"},
    {"{\"nMatched\":0,\"nUpserted\":1,\"writeErrors\":[{\"index\":1,\"code\":1},{\"index\":2}]}", 3,
     SLUICE_MONGO_COMPLETE, "SFF"},
    /* FerretDB: positions of upserted documents are wrong, the sum is right */
    {"{\"nMatched\":1,\"nUpserted\":1,\"upserted\":[{\"index\":0,\"_id\":\"b\"}]}", 2,
     SLUICE_MONGO_COMPLETE, "SS"},
    /* FerretDB: one error, always at 0, and nothing said about the others */
    {"{\"nMatched\":0,\"nUpserted\":0,\"writeErrors\":[{\"index\":0,\"code\":11000}]}", 3,
     SLUICE_MONGO_INCOMPLETE, NULL},
    /* less than everything */
    {"{\"nMatched\":1,\"nUpserted\":1}", 3, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":0,\"nUpserted\":0}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":1}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":\"1\",\"nUpserted\":0}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    /* more than there can be */
    {"{\"nMatched\":2,\"nUpserted\":0}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":-1,\"nUpserted\":2}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":3,\"nUpserted\":-2}", 1, SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":{\"$numberLong\":\"9223372036854775807\"},\"nUpserted\":"
     "{\"$numberLong\":\"9223372036854775807\"}}",
     1, SLUICE_MONGO_INCOMPLETE, NULL},
    /* errors at positions that cannot be */
    {"{\"nMatched\":1,\"nUpserted\":0,\"writeErrors\":[{\"index\":2,\"code\":1}]}", 2,
     SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":1,\"nUpserted\":0,\"writeErrors\":[{\"index\":-1,\"code\":1}]}", 2,
     SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":1,\"nUpserted\":0,\"writeErrors\":[{\"code\":1}]}", 2, SLUICE_MONGO_INCOMPLETE,
     NULL},
    {"{\"nMatched\":0,\"nUpserted\":0,\"writeErrors\":[{\"index\":0},{\"index\":0}]}", 2,
     SLUICE_MONGO_INCOMPLETE, NULL},
    {"{\"nMatched\":1,\"nUpserted\":0,\"writeErrors\":[7]}", 2, SLUICE_MONGO_INCOMPLETE, NULL},
    /* written, but not durable */
    {"{\"nMatched\":2,\"nUpserted\":0,\"writeConcernErrors\":[{\"code\":64,\"errmsg\":\"waiting "
     "timed out\"}]}",
     2, SLUICE_MONGO_UNCONFIRMED, NULL},
    {"{\"nMatched\":2,\"nUpserted\":0,\"writeConcernErrors\":[]}", 2, SLUICE_MONGO_COMPLETE, "SS"},
};

static void believes_a_position_only_if_the_numbers_add_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct sluice_mongo_outcome outcomes[3];
        const char *text = NULL;
        bson_error_t error;
        bson_t *reply = bson_new_from_json((const uint8_t *)row->json, -1, &error);
        if (reply == NULL) {
            fail_msg("%s: %s", row->json, error.message);
        }
        if (sluice_mongo_reply_read(reply, row->count, outcomes, &text) != row->account) {
            fail_msg("%s: judged otherwise", row->json);
        }
        for (uint32_t k = 0; k < row->count; k++) {
            enum sluice_mongo_state expected = row->states == NULL     ? SLUICE_MONGO_OPEN
                                               : row->states[k] == 'S' ? SLUICE_MONGO_STORED
                                                                       : SLUICE_MONGO_FAILED;
            if (outcomes[k].state != expected) {
                fail_msg("%s: position %u", row->json, k);
            }
            assert_true(expected != SLUICE_MONGO_FAILED || outcomes[k].text != NULL);
        }
        assert_int_equal(text != NULL, row->account == SLUICE_MONGO_UNCONFIRMED);
        bson_destroy(reply);
    }
}

static void code_and_text_are_the_servers(void **state)
{
    (void)state;
    struct sluice_mongo_outcome outcomes[2];
    const char *text = NULL;
    const char *json = "{\"nMatched\":1,\"nUpserted\":0,\"writeErrors\":[{\"index\":1,\"code\":"
                       "11000,\"errmsg\":\"E11000 duplicate\"}]}";
    bson_t *reply = bson_new_from_json((const uint8_t *)json, -1, NULL);
    assert_non_null(reply);
    assert_int_equal(sluice_mongo_reply_read(reply, 2, outcomes, &text), SLUICE_MONGO_COMPLETE);
    assert_int_equal(outcomes[1].code, 11000);
    assert_string_equal(outcomes[1].text, "E11000 duplicate");
    bson_destroy(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believes_a_position_only_if_the_numbers_add_up),
        cmocka_unit_test(code_and_text_are_the_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
