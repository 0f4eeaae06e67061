/* SPDX-License-Identifier: Apache-2.0 */
#include "llmsim/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static double number(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void counts_calls_answers_and_faults(void **state)
{
    (void)state;
    struct llmsim_ledger *l = llmsim_ledger_create();
    assert_non_null(l);
    assert_int_equal(llmsim_ledger_call(l, "a"), 0);
    llmsim_ledger_fault(l, LLMSIM_f500);
    assert_int_equal(llmsim_ledger_call(l, "a"), 1);
    llmsim_ledger_fault(l, LLMSIM_OK);
    llmsim_ledger_answered(l, "a");
    assert_int_equal(llmsim_ledger_call(l, "b"), 0);
    llmsim_ledger_fault(l, LLMSIM_OK);
    llmsim_ledger_ended(l, "a");
    llmsim_ledger_ended(l, "a");
    llmsim_ledger_ended(l, "a"); /* of before a reset: counts for nothing */
    (void)llmsim_ledger_call(l, "b");
    (void)llmsim_ledger_call(l, "b");
    cJSON *most = llmsim_ledger_json(l, 0);
    assert_true(number(most, "most_at_once") == 3);
    cJSON_Delete(most);
    llmsim_ledger_reset(l);
    assert_int_equal(llmsim_ledger_call(l, "a"), 0);
    llmsim_ledger_fault(l, LLMSIM_f500);
    llmsim_ledger_ended(l, "a");
    assert_int_equal(llmsim_ledger_call(l, "a"), 1);
    llmsim_ledger_fault(l, LLMSIM_OK);
    llmsim_ledger_answered(l, "a");
    llmsim_ledger_ended(l, "a");
    assert_int_equal(llmsim_ledger_call(l, "b"), 0);
    llmsim_ledger_fault(l, LLMSIM_OK);
    cJSON *json = llmsim_ledger_json(l, 1);
    assert_true(number(json, "most_at_once") == 1);
    assert_true(number(json, "calls") == 3 && number(json, "answered") == 1);
    assert_true(number(json, "failed") == 1 && number(json, "keys") == 2);
    const cJSON *faults = cJSON_GetObjectItemCaseSensitive(json, "by_fault");
    assert_int_equal(cJSON_GetArraySize(faults), LLMSIM_FAULT_COUNT);
    assert_true(number(faults, "500") == 1 && number(faults, "ok") == 2);
    const cJSON *a =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "by_key"), "a");
    assert_true(number(a, "calls") == 2 && number(a, "answered") == 1);
    assert_true(number(a, "called_ms") > 0 && number(a, "answered_ms") >= number(a, "called_ms"));
    const cJSON *b =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "by_key"), "b");
    assert_true(number(b, "answered_ms") == 0);
    cJSON_Delete(json);
    llmsim_ledger_reset(l);
    json = llmsim_ledger_json(l, 0);
    assert_true(number(json, "calls") == 0 && number(json, "keys") == 0);
    assert_null(cJSON_GetObjectItemCaseSensitive(json, "by_key"));
    cJSON_Delete(json);
    assert_int_equal(llmsim_ledger_call(l, "a"), 0);
    llmsim_ledger_destroy(l);
    llmsim_ledger_destroy(NULL);
}

static void long_keys_are_cut_and_full_tables_say_so(void **state)
{
    (void)state;
    char key[200];
    struct llmsim_ledger *l = llmsim_ledger_create();
    assert_non_null(l);
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_int_equal(llmsim_ledger_call(l, key), 0);
    key[150] = 'x'; /* beyond what is kept */
    assert_int_equal(llmsim_ledger_call(l, key), 1);
    for (unsigned i = 0; i < 200000; i++) {
        (void)snprintf(key, sizeof key, "key-%u", i);
        assert_int_equal(llmsim_ledger_call(l, key), 0);
    }
    assert_int_equal(llmsim_ledger_call(l, "one too many"), 0);
    llmsim_ledger_answered(l, "one too many");
    cJSON *json = llmsim_ledger_json(l, 0);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "truncated")));
    assert_true(number(json, "keys") == 200000 && number(json, "calls") == 200003);
    cJSON_Delete(json);
    llmsim_ledger_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_calls_answers_and_faults),
        cmocka_unit_test(long_keys_are_cut_and_full_tables_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
