/* SPDX-License-Identifier: Apache-2.0 */
/* Files of CA certificates: refused at configuration time, and where the settings take them from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/option_box.h"
#include "text_file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PEM "some words\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

static struct sluice_report report;
static struct sluice_settings_box *box;
static char folder[] = "/tmp/sluice-ca-XXXXXX";
static char good[64], other[64], yaml[64];

static sluice_rc load(const char *settings)
{
    sluice_settings_free(box);
    box = NULL;
    text_file_write(yaml, settings);
    return sluice_settings_load(0, NULL, yaml, &box, &report);
}

static void expect_ok(sluice_rc rc)
{
    if (rc != SLUICE_OK) {
        fail_msg("refused:\n%s", report.text);
    }
}

static void expect_error(const char *text)
{
    assert_int_equal(report.count, 1);
    if (strstr(report.text, text) == NULL) {
        fail_msg("no \"%s\" in:\n%s", text, report.text);
    }
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(good, sizeof good, "%s/good.pem", folder);
    (void)snprintf(other, sizeof other, "%s/other.pem", folder);
    (void)snprintf(yaml, sizeof yaml, "%s/worker.yaml", folder);
    text_file_write(good, PEM);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sluice_settings_free(box);
    (void)unlink(good);
    (void)unlink(other);
    (void)unlink(yaml);
    (void)rmdir(folder);
    return 0;
}

static int each(void **state)
{
    (void)state;
    unsetenv("LLM_CA");
    unsetenv("SSL_CERT_FILE");
    return 0;
}

static void a_file_without_a_certificate_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "\x30\x82\x03\x0f\x30\x82\x01\xf7",
                                      "-----BEGIN PRIVATE KEY-----\nAAAA\n",
                                      "-----BEGIN CERTIFICATE-----\nAAAA\n",
                                      "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
                                      "x -----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"};
    char says[256];
    (void)snprintf(says, sizeof says,
                   "LLM_CA: %s: holds no certificate, expected a PEM file of CA certificates",
                   other);
    setenv("LLM_CA", other, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        text_file_write(other, bad[i]);
        assert_int_equal(load(""), SLUICE_ERR_CONFIG);
        expect_error(says);
    }
    setenv("LLM_CA", good, 1);
    expect_ok(load(""));
    assert_string_equal(sluice_settings_of(box)->llm_ca, good);
}

static void a_file_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    setenv("LLM_CA", "/nonexistent/ca.pem", 1);
    assert_int_equal(load(""), SLUICE_ERR_CONFIG);
    expect_error("LLM_CA: /nonexistent/ca.pem: No such file or directory, expected a PEM file");
    setenv("LLM_CA", "/", 1);
    assert_int_equal(load(""), SLUICE_ERR_CONFIG);
    expect_error("LLM_CA: /: Is a directory, expected a PEM file");
}

/* Also what is seen only when all has been read. */
static void a_wrong_file_is_told_with_its_place(void **state)
{
    (void)state;
    char says[256];
    (void)snprintf(says, sizeof says, "%s:3:3: llm.ca: /nonexistent/ca.pem: No such file", yaml);
    assert_int_equal(load("llm:\n  timeout: 3\n  ca: /nonexistent/ca.pem\n"), SLUICE_ERR_CONFIG);
    expect_error(says);
    assert_int_equal(report.errors[0].line, 3);
    (void)snprintf(says, sizeof says, "%s:4:5: services.one.ca: /nonexistent/ca.pem", yaml);
    assert_int_equal(load("services:\n  one:\n    url: https://h\n    ca: /nonexistent/ca.pem\n"),
                     SLUICE_ERR_CONFIG);
    expect_error(says);
    (void)snprintf(says, sizeof says, "%s:2:3: nats.creds: /nonexistent/creds: No such", yaml);
    assert_int_equal(load("nats:\n  creds: /nonexistent/creds\n"), SLUICE_ERR_CONFIG);
    expect_error(says);
    setenv("LLM_CA", "/nonexistent/ca.pem", 1); /* the last word */
    assert_int_equal(load("llm:\n  ca: /nonexistent/other.pem\n"), SLUICE_ERR_CONFIG);
    expect_error("LLM_CA: /nonexistent/ca.pem");
    assert_int_equal(report.errors[0].line, 0);
}

static void a_service_has_a_file_of_its_own(void **state)
{
    (void)state;
    char text[256];
    (void)snprintf(text, sizeof text,
                   "services:\n  crm:\n    url: https://crm\n    ca: %s\n  erp:\n    url: "
                   "https://erp\n",
                   good);
    expect_ok(load(text));
    assert_string_equal(sluice_settings_of(box)->services[0].ca, good);
    assert_string_equal(sluice_settings_of(box)->services[1].ca, "");
    assert_string_equal(sluice_settings_of(box)->llm_ca, "");
    assert_int_equal(load("services:\n  crm:\n    url: https://crm\n    ca: /nonexistent/x\n"),
                     SLUICE_ERR_CONFIG);
    expect_error("services.crm.ca: /nonexistent/x: No such file or directory, expected a PEM file");
}

/* What other programs of the container are told, too. */
static void the_common_variable_is_taken_where_nothing_else_is_said(void **state)
{
    (void)state;
    static const char tls[] = "llm:\n  base_url: https://llm/v1\nservices:\n  crm:\n    url: "
                              "https://crm\n  erp:\n    url: http://erp\n";
    setenv("SSL_CERT_FILE", good, 1);
    expect_ok(load(tls));
    const struct sluice_settings *s = sluice_settings_of(box);
    assert_string_equal(s->llm_ca, good);
    assert_string_equal(s->services[0].ca, good);
    assert_string_equal(s->services[1].ca, ""); /* speaks no TLS */
    assert_int_equal(box->layers[ROW_llm_ca], LAYER_ENVIRONMENT);
    text_file_write(other, PEM);
    setenv("LLM_CA", other, 1);
    expect_ok(load(tls));
    assert_string_equal(sluice_settings_of(box)->llm_ca, other);
    setenv("LLM_CA", "", 1); /* the system's, said in so many words */
    expect_ok(load("llm:\n  base_url: https://llm/v1\n"));
    assert_string_equal(sluice_settings_of(box)->llm_ca, "");
    unsetenv("LLM_CA");
    setenv("SSL_CERT_FILE", "/nonexistent/x", 1);
    expect_ok(load("")); /* nobody would read it */
    assert_int_equal(load("llm:\n  base_url: https://llm/v1\n"), SLUICE_ERR_CONFIG);
    expect_error("environment: SSL_CERT_FILE: /nonexistent/x: No such file or directory");
    setenv("SSL_CERT_FILE", "", 1);
    expect_ok(load(tls));
    assert_string_equal(sluice_settings_of(box)->llm_ca, "");
}

/* It would have to be seen as one that needs certificates, too. */
static void a_scheme_in_capitals_is_refused(void **state)
{
    (void)state;
    assert_int_equal(load("llm:\n  base_url: HTTPS://llm/v1\n"), SLUICE_ERR_CONFIG);
    expect_error("llm.base_url");
    assert_int_equal(load("services:\n  crm:\n    url: Https://crm\n"), SLUICE_ERR_CONFIG);
}

#define CASE(name) cmocka_unit_test_setup(name, each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_file_without_a_certificate_is_refused),
        CASE(a_file_that_cannot_be_read_is_refused),
        CASE(a_wrong_file_is_told_with_its_place),
        CASE(a_service_has_a_file_of_its_own),
        CASE(the_common_variable_is_taken_where_nothing_else_is_said),
        CASE(a_scheme_in_capitals_is_refused),
    };
    return cmocka_run_group_tests_name("option_ca", tests, setup, teardown);
}
