/* SPDX-License-Identifier: Apache-2.0 */
/* Errors with their text, and prefixes on the way up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/err.h"
#include <string.h>

static void a_prefix_keeps_code_and_text(void **state)
{
    (void)state;
    struct sluice_err err = {.rc = SLUICE_OK};
    assert_int_equal(sluice_err_set(&err, SLUICE_ERR_CONFIG, "model: %s", "empty"),
                     SLUICE_ERR_CONFIG);
    assert_int_equal(sluice_err_prefix(&err, SLUICE_ERR_NOMEM, "worker %s", "w"),
                     SLUICE_ERR_CONFIG);
    assert_int_equal(err.rc, SLUICE_ERR_CONFIG);
    assert_string_equal(err.text, "worker w: model: empty");
}

static void nobody_has_to_listen(void **state)
{
    (void)state;
    assert_int_equal(sluice_err_set(NULL, SLUICE_ERR_NOMEM, "x"), SLUICE_ERR_NOMEM);
    assert_int_equal(sluice_err_prefix(NULL, SLUICE_ERR_NOMEM, "x"), SLUICE_ERR_NOMEM);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char text[2 * SLUICE_ERR_TEXT_SIZE];
    struct sluice_err err = {.rc = SLUICE_OK};
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)sluice_err_set(&err, SLUICE_ERR_CONFIG, "%s", text);
    assert_int_equal(strlen(err.text), SLUICE_ERR_TEXT_SIZE - 1);
    (void)sluice_err_prefix(&err, SLUICE_ERR_CONFIG, "p");
    assert_memory_equal(err.text, "p: x", 4);
    assert_int_equal(strlen(err.text), SLUICE_ERR_TEXT_SIZE - 1);
    (void)sluice_err_prefix(&err, SLUICE_ERR_CONFIG, "%s", text); /* no room for what is below */
    assert_int_equal(strlen(err.text), SLUICE_ERR_TEXT_SIZE - 1);
    assert_int_equal(err.text[0], 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_prefix_keeps_code_and_text),
                                       cmocka_unit_test(nobody_has_to_listen),
                                       cmocka_unit_test(long_texts_are_cut)};
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
