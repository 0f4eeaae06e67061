/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_context.h"

#include "nats_fixture.h"
#include "text_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static void write_context(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/nats/context/%s.json", folder, name);
    text_file_write(path, text);
}

static int make_folder(void **state)
{
    (void)state;
    char path[128];
    (void)snprintf(folder, sizeof folder, "/tmp/sluice-context-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/nats", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/nats/context", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(setenv("XDG_CONFIG_HOME", folder, 1), 0);
    assert_int_equal(setenv("HOME", "/home/someone", 1), 0);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static struct sluice_nats_context *load(const char *name)
{
    struct sluice_err err = {0};
    struct sluice_nats_context *context = NULL;
    if (sluice_nats_context_load(name, &context, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    return context;
}

static void a_context_fills_what_is_unset(void **state)
{
    (void)state;
    assert_int_equal(setenv("SLUICE_TEST_SECRET", "pa$$word", 1), 0);
    write_context(
        "prod",
        "{\"description\":\"x\",\"url\":\"nats://a:4222,nats://b:4222\",\"user\":\"u\","
        "\"password\":\"env://SLUICE_TEST_SECRET\",\"ca\":\"~/ca.pem\",\"cert\":\"$HOME/cert.pem\","
        "\"key\":\"${HOME}/"
        "key.pem\",\"jetstream_domain\":\"hub\",\"inbox_prefix\":\"_MINE\",\"nsc\":\"\"}");
    struct sluice_nats_context *context = load("prod");
    struct sluice_nats_options options = {.url = "nats://localhost:4222"};
    sluice_nats_context_apply(context, "nats://localhost:4222", &options);
    assert_string_equal(options.url, "nats://a:4222,nats://b:4222");
    assert_string_equal(options.user, "u");
    assert_string_equal(options.password, "pa$$word");
    assert_null(options.token);
    assert_string_equal(options.tls_ca, "/home/someone/ca.pem");
    assert_string_equal(options.tls_cert, "/home/someone/cert.pem");
    assert_string_equal(options.tls_key, "/home/someone/key.pem");
    assert_string_equal(options.api_prefix, "$JS.hub.API");
    assert_string_equal(options.inbox_prefix, "_MINE");
    /* What is set stays; an own login keeps the context's out. */
    options =
        (struct sluice_nats_options){.url = "nats://mine", .token = "t", .api_prefix = "$JS.API"};
    sluice_nats_context_apply(context, "nats://localhost:4222", &options);
    assert_string_equal(options.url, "nats://mine");
    assert_null(options.user);
    assert_string_equal(options.api_prefix, "$JS.API");
    options = (struct sluice_nats_options){.url = "nats://me:mine@host"};
    sluice_nats_context_apply(context, "nats://localhost:4222", &options);
    assert_null(options.user);
    assert_null(options.password);
    sluice_nats_context_free(context);
}

static void a_password_keeps_its_dollar_signs(void **state)
{
    (void)state;
    write_context("dollar", "{\"user\":\"u\",\"password\":\"$HOME\",\"jetstream_api_prefix\":\"$JS."
                            "x.API\",\"creds\":\"/a/$/b\"}");
    struct sluice_nats_context *context = load("dollar");
    struct sluice_nats_options options = {0};
    sluice_nats_context_apply(context, NULL, &options);
    assert_string_equal(options.password, "$HOME");
    assert_string_equal(options.api_prefix, "$JS.x.API");
    assert_string_equal(options.creds_file, "/a/$/b");
    assert_null(options.url);
    sluice_nats_context_free(context);
}

static void what_cannot_be_used_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *content, *text;
        sluice_rc rc;
    } rows[] = {
        {"absent", NULL, "absent.json: No such file", SLUICE_ERR_NOT_FOUND},
        {"../prod", NULL, "expected the name of a context", SLUICE_ERR_CONFIG},
        {"", NULL, "expected the name of a context", SLUICE_ERR_CONFIG},
        {"a/b", NULL, "expected the name of a context", SLUICE_ERR_CONFIG},
        {"broken", "{\"password\":\"topsecret\"", "not a JSON object", SLUICE_ERR_CONFIG},
        {"list", "[]", "not a JSON object", SLUICE_ERR_CONFIG},
        {"nsc", "{\"nsc\":\"nsc://a/b\",\"password\":\"topsecret\"}", "nsc is not supported",
         SLUICE_ERR_CONFIG},
        {"first", "{\"tls_first\":true}", "tls_first is not supported", SLUICE_ERR_CONFIG},
        {"socks", "{\"socks_proxy\":\"x\"}", "socks_proxy is not supported", SLUICE_ERR_CONFIG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sluice_err err = {0};
        struct sluice_nats_context *context = NULL;
        if (rows[i].content != NULL) {
            write_context(rows[i].name, rows[i].content);
        }
        assert_int_equal(sluice_nats_context_load(rows[i].name, &context, &err), rows[i].rc);
        if (strstr(err.text, rows[i].text) == NULL || strstr(err.text, "topsecret") != NULL) {
            fail_msg("row %d: %s", (int)i, err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_fills_what_is_unset),
        cmocka_unit_test(a_password_keeps_its_dollar_signs),
        cmocka_unit_test(what_cannot_be_used_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
