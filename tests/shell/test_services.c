/* SPDX-License-Identifier: Apache-2.0 */
/* The sections whose keys are names: every option of a service in every layer, names that clash,
 * variables that are not ours; and what a worker's own options may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/option_box.h"
#include "run/worker_config.h"
#include "text_file.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sluice_report report;
static struct sluice_settings_box *box;
static struct sluice_config *own;
static char file[] = "/tmp/sluice-services-XXXXXX";

static sluice_rc load(const char *yaml, int count, char **flags)
{
    sluice_worker_config_free(own);
    own = NULL;
    sluice_settings_free(box);
    box = NULL;
    text_file_write(file, yaml);
    return sluice_settings_load(count, flags, file, &box, &report);
}

static void resolve(const sluice_worker *worker)
{
    own = sluice_worker_config_create(sluice_settings_of(box), worker, &report);
}

static void expect_ok(sluice_rc rc)
{
    if (rc != SLUICE_OK || report.count != 0) {
        fail_msg("refused:\n%s", report.text);
    }
}

static void expect_error(const char *text)
{
    if (strstr(report.text, text) == NULL) {
        fail_msg("no \"%s\" in:\n%s", text, report.text);
    }
}

/* What `sluice check` shows, malloc'd. */
static char *printed(int as_json)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    sluice_settings_print(box, own, NULL, out, as_json);
    fclose(out);
    return text;
}

/* ---- Every option of a service ---- */

enum layer { IN_FILE, IN_ENVIRONMENT, IN_FLAG, LAYERS };

/* Load with one option of service crm set in one layer. */
static sluice_rc load_one(const struct option *o, const char *value, enum layer layer)
{
    char yaml[512] = "services:\n  crm:\n    url: http://crm\n";
    char name[128];
    char flag[256];
    char *flags[] = {flag};
    (void)snprintf(name, sizeof name, "SLUICE_SERVICE_CRM_%s", o->env);
    if (layer == IN_FILE) {
        if (strcmp(o->key, "url") == 0) {
            yaml[strlen("services:\n  crm:\n")] = '\0';
        }
        size_t len = strlen(yaml);
        (void)snprintf(yaml + len, sizeof yaml - len, "    %s: \"%s\"\n", o->key, value);
    } else if (layer == IN_ENVIRONMENT) {
        setenv(name, value, 1);
    } else {
        int len = snprintf(flag, sizeof flag, "--services-crm-%s", o->key);
        for (char *c = flag + strlen("--services-crm-"); *c != '\0'; c++) {
            *c = (char)(*c == '_' ? '-' : *c);
        }
        (void)snprintf(flag + len, sizeof flag - (size_t)len, "=%s", value);
    }
    sluice_rc rc = load(yaml, layer == IN_FLAG, flags);
    unsetenv(name);
    return rc;
}

/* The place and the name that an error must tell in each layer. */
static void expect_place(const struct option *o, enum layer layer)
{
    char text[128];
    if (layer == IN_FILE) {
        int line = strcmp(o->key, "url") == 0 ? 3 : 4;
        (void)snprintf(text, sizeof text, "%s:%d:5: services.crm.%s: ", file, line, o->key);
    } else if (layer == IN_ENVIRONMENT) {
        (void)snprintf(text, sizeof text, "environment: SLUICE_SERVICE_CRM_%s: ", o->env);
    } else {
        (void)snprintf(text, sizeof text, "--services-crm-%.3s", o->key);
    }
    expect_error(text);
}

static void each_number_of_a_service_has_its_limits_in_each_layer(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < SERVICE_OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_service_rows[i];
        if (o->kind > OPTION_NUMBER) {
            continue;
        }
        double step = o->kind == OPTION_COUNT ? 1 : 0.0005;
        const struct {
            double value;
            int is_good;
        } cases[] = {{o->min, 1}, {o->max, 1}, {o->min - step, 0}, {o->max + step, 0}};
        for (size_t k = 0; k < 4 * LAYERS; k++) {
            enum layer layer = (enum layer)(k % LAYERS);
            char text[64];
            (void)snprintf(text, sizeof text, "%.15g", cases[k / LAYERS].value);
            sluice_rc rc = load_one(o, text, layer);
            if (cases[k / LAYERS].is_good) {
                expect_ok(rc);
            } else {
                assert_int_equal(rc, SLUICE_ERR_CONFIG);
                expect_place(o, layer);
                expect_error(text);
            }
            seen++;
        }
        static const char *const bad[] = {"", "abc", "1x", "-", "1e3", "99999999999999999999"};
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
            assert_int_equal(load_one(o, bad[k], IN_ENVIRONMENT), SLUICE_ERR_CONFIG);
            expect_place(o, IN_ENVIRONMENT);
        }
    }
    assert_true(seen >= 3 * 12);
}

static void texts_of_a_service_are_checked(void **state)
{
    (void)state;
    static const struct {
        size_t row;
        const char *value;
        int is_good;
    } cases[] = {{SERVICE_ROW_url, "http://a", 1},
                 {SERVICE_ROW_url, "https://a.b:65535/x/", 1},
                 {SERVICE_ROW_url, "http://[::1]:80", 1},
                 {SERVICE_ROW_url, "http://u:p@a", 1},
                 {SERVICE_ROW_url, "", 0},
                 {SERVICE_ROW_url, "a", 0},
                 {SERVICE_ROW_url, "nats://a", 0},
                 {SERVICE_ROW_url, "http://", 0},
                 {SERVICE_ROW_url, "http:///x", 0},
                 {SERVICE_ROW_url, "http://:80", 0},
                 {SERVICE_ROW_url, "http://a:0", 0},
                 {SERVICE_ROW_url, "http://a:65536", 0},
                 {SERVICE_ROW_url, "http://a:80x", 0},
                 {SERVICE_ROW_url, "http://[::1:80", 0},
                 {SERVICE_ROW_url, "http://a b", 0},
                 {SERVICE_ROW_url, "http://a/?key=1", 0},
                 {SERVICE_ROW_url, "http://a/#x", 0},
                 {SERVICE_ROW_required, "0", 1},
                 {SERVICE_ROW_required, "true", 1},
                 {SERVICE_ROW_required, "yes", 0},
                 {SERVICE_ROW_required, "", 0},
                 {SERVICE_ROW_health_path, "/", 1},
                 {SERVICE_ROW_health_path, "health", 0},
                 {SERVICE_ROW_health_path, "", 0},
                 {SERVICE_ROW_auth_header, "X-Api-Key", 1},
                 {SERVICE_ROW_auth_header, "X Api", 0},
                 {SERVICE_ROW_auth_header, "content-type", 0},
                 {SERVICE_ROW_auth_header, "Idempotency-Key", 0},
                 {SERVICE_ROW_auth_header, "", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct option *o = &sluice_service_rows[cases[i].row];
        for (int layer = 0; layer < LAYERS; layer++) {
            if (cases[i].is_good) {
                expect_ok(load_one(o, cases[i].value, (enum layer)layer));
            } else if (load_one(o, cases[i].value, (enum layer)layer) == SLUICE_OK) {
                fail_msg("%s: \"%s\" was taken", o->key, cases[i].value);
            }
        }
    }
}

static void a_refused_url_is_not_missing_too(void **state)
{
    (void)state;
    for (int layer = 0; layer < LAYERS; layer++) {
        const char *yaml = layer == IN_FILE ? "services:\n  crm:\n    url: nope\n" : "";
        char *flags[] = {(char *)"--services-crm-url=nope"};
        if (layer == IN_ENVIRONMENT) {
            setenv("SLUICE_SERVICE_CRM_URL", "nope", 1);
        }
        assert_int_equal(load(yaml, layer == IN_FLAG, flags), SLUICE_ERR_CONFIG);
        assert_int_equal(report.count, 1);
        expect_error("\"nope\", expected a URL");
        unsetenv("SLUICE_SERVICE_CRM_URL");
    }
    assert_int_equal(load("services:\n  crm:\n    timeout: 0\n", 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 2);
    expect_error("services.crm.url: not set, expected the service's base URL");
}

static void a_service_has_the_defaults_of_the_table(void **state)
{
    (void)state;
    expect_ok(load("services:\n  crm:\n    url: http://crm\n", 0, NULL));
    char *text = printed(1);
    for (size_t i = 1; i < SERVICE_OPTIONS_COUNT; i++) {
        char line[256];
        (void)snprintf(line, sizeof line,
                       "\"services.crm.%s\":{\"value\":\"%s\",\"origin\":\"default\"}",
                       sluice_service_rows[i].key, sluice_service_rows[i].default_value);
        if (strstr(text, line) == NULL) {
            fail_msg("no %s in %s", line, text);
        }
    }
    free(text);
}

static void a_flag_is_over_the_environment_and_that_over_the_file(void **state)
{
    (void)state;
    const char *yaml = "services:\n  big_crm:\n    url: http://file\n    timeout: 1\n"
                       "    breaker_reset: 1\noptions:\n  limit: 1\noutputs:\n  ready: from.file\n";
    char *flags[] = {(char *)"--services-Big-CRM-timeout",
                     (char *)"3s",
                     (char *)"--outputs-ready=from.flag",
                     (char *)"--options-limit",
                     (char *)"3",
                     (char *)"--services-new-url=http://flag"};
    setenv("SLUICE_SERVICE_BIG_CRM_TIMEOUT", "2", 1);
    setenv("SLUICE_SERVICE_BIG_CRM_BREAKER_RESET", "2", 1);
    setenv("SLUICE_OUTPUTS", "ready=from.environment", 1);
    setenv("SLUICE_OPTION_LIMIT", "2", 1);
    expect_ok(load(yaml, 6, flags));
    const struct sluice_settings *s = sluice_settings_of(box);
    assert_int_equal(s->services_count, 2);
    assert_string_equal(s->services[0].name, "big_crm");
    assert_string_equal(s->services[0].url, "http://file");
    assert_int_equal(s->services[0].timeout_ms, 3000);
    assert_int_equal(s->services[0].breaker_reset_ms, 2000);
    assert_string_equal(s->services[1].name, "new");
    assert_string_equal(s->outputs[0].value, "from.flag");
    assert_int_equal(s->own[0].layer, LAYER_FLAG);
    assert_string_equal(s->own[0].value, "3");
    unsetenv("SLUICE_SERVICE_BIG_CRM_TIMEOUT");
    unsetenv("SLUICE_SERVICE_BIG_CRM_BREAKER_RESET");
    unsetenv("SLUICE_OUTPUTS");
    unsetenv("SLUICE_OPTION_LIMIT");
}

static void wrong_flags_of_the_named_sections_are_told(void **state)
{
    (void)state;
    char *flags[] = {(char *)"--services-crm-token=canary",
                     (char *)"--services-crm-colour=red",
                     (char *)"--services-crm",
                     (char *)"x",
                     (char *)"--outputs-ready=a b",
                     (char *)"--services-crm-url"};
    assert_int_equal(load("", 6, flags), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 5);
    expect_error("--services-crm-token: secrets are not taken from the command line");
    expect_error("--services-crm-colour: unknown flag, expected --services-NAME- and one of url, ");
    expect_error("--services-crm: unknown flag");
    expect_error("--outputs-ready: \"a b\", expected a subject");
    expect_error("--services-crm-url: needs a value");
    assert_null(strstr(report.text, "canary"));
}

/* ---- Names ---- */

static void names_of_our_own_dependencies_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"llm",
                                        "NATS",
                                        "store",
                                        "Publish",
                                        "a b",
                                        "a.b",
                                        "\xc3\xa4",
                                        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                         "aaaaaaaaa")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char yaml[256];
        (void)snprintf(yaml, sizeof yaml, "services:\n  \"%s\":\n    url: http://x\n", names[i]);
        assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
        expect_error(":3:5: ");
        expect_error("expected a service's name");
    }
}

static void names_that_no_variable_can_tell_apart_are_refused(void **state)
{
    (void)state;
    assert_int_equal(
        load("services:\n  a-b:\n    url: http://x\n  A_b:\n    url: http://y\n", 0, NULL),
        SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 1);
    expect_error(":5:5: services.A_b.url: expected a name that differs from a-b");
}

static void a_worker_may_spell_its_service_as_variables_do(void **state)
{
    (void)state;
    static const char *const services[] = {"big_crm", NULL};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .services = services};
    setenv("SLUICE_SERVICE_BIG_CRM_URL", "http://x", 1);
    expect_ok(load("", 0, NULL));
    assert_string_equal(sluice_settings_of(box)->services[0].name, "big-crm");
    resolve(&w);
    assert_int_equal(report.count, 0);
    unsetenv("SLUICE_SERVICE_BIG_CRM_URL");
}

/* A Kubernetes Service named `sluice`, or `sluice-service-crm`, in the same namespace. */
static void variables_of_kubernetes_are_not_ours(void **state)
{
    (void)state;
    static const char *const names[] = {"SLUICE_SERVICE_HOST",
                                        "SLUICE_SERVICE_PORT",
                                        "SLUICE_SERVICE_PORT_HTTP",
                                        "SLUICE_SERVICE_PORT_8080_TCP_ADDR",
                                        "SLUICE_SERVICE_CRM_SERVICE_HOST",
                                        "SLUICE_SERVICE_CRM_SERVICE_PORT",
                                        "SLUICE_SERVICE_CRM_PORT",
                                        "SLUICE_SERVICE_CRM_PORT_80_TCP_PROTO"};
    size_t count = sizeof names / sizeof names[0];
    for (size_t i = 0; i < count; i++) {
        setenv(names[i], "tcp://10.0.0.1:80", 1);
    }
    expect_ok(load("", 0, NULL));
    assert_int_equal(sluice_settings_of(box)->services_count, 0);
    for (size_t i = 0; i < count; i++) {
        unsetenv(names[i]);
    }
    setenv("SLUICE_SERVICE_CRM_UR", "http://x", 1);
    assert_int_equal(load("", 0, NULL), SLUICE_ERR_CONFIG);
    expect_error(
        "SLUICE_SERVICE_CRM_UR: unknown, expected SLUICE_SERVICE_<NAME>_ and one of URL, ");
    unsetenv("SLUICE_SERVICE_CRM_UR");
}

/* ---- Secrets ---- */

static void a_token_comes_from_a_file_and_never_shows(void **state)
{
    (void)state;
    char secret[] = "/tmp/sluice-token-XXXXXX";
    char yaml[512];
    text_file_make(secret, "canary-123\r\n");
    (void)snprintf(yaml, sizeof yaml,
                   "services:\n  crm:\n    url: http://me:canary-9@crm\n"
                   "    auth_header: X-Token\n"
                   "    token_file: %s\n",
                   secret);
    expect_ok(load(yaml, 0, NULL));
    assert_string_equal(sluice_settings_of(box)->services[0].token, "canary-123");
    for (int as_json = 0; as_json < 2; as_json++) {
        char *text = printed(as_json);
        assert_null(strstr(text, "canary"));
        assert_non_null(strstr(text, "http://me:***@crm"));
        free(text);
    }
    setenv("SLUICE_SERVICE_CRM_TOKEN", "canary-456", 1);
    expect_ok(load(yaml, 0, NULL));
    assert_string_equal(sluice_settings_of(box)->services[0].token, "canary-456");
    setenv("SLUICE_SERVICE_CRM_TOKEN_FILE", secret, 1);
    assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error("set twice, itself or together with its file");
    unsetenv("SLUICE_SERVICE_CRM_TOKEN");
    setenv("SLUICE_SERVICE_CRM_TOKEN_FILE", "/nonexistent/token", 1);
    assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error("SLUICE_SERVICE_CRM_TOKEN_FILE: /nonexistent/token: No such file");
    unsetenv("SLUICE_SERVICE_CRM_TOKEN_FILE");
    size_t len = strlen(yaml);
    (void)snprintf(yaml + len, sizeof yaml - len, "    token: canary-7\n");
    assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error(":6:5: services.crm.token: set twice");
    assert_int_equal(
        load("services:\n  crm:\n    url: http://crm\n    token: \"canary\\nX: y\"\n", 0, NULL),
        SLUICE_ERR_CONFIG);
    expect_error("services.crm.token: \"***\", expected one line");
    assert_null(strstr(report.text, "canary"));
    unlink(secret);
}

static void a_token_beside_a_login_in_the_url_is_refused(void **state)
{
    (void)state;
    static const char yaml[] = "services:\n  crm:\n    url: http://u:canary@crm\n"
                               "    token: canary\n";
    assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 1);
    expect_error("services.crm.url: a login stands in it beside services.crm.token, expected one");
    assert_null(strstr(report.text, "canary"));
    setenv("SLUICE_SERVICE_CRM_AUTH_HEADER", "X-Api-Key", 1); /* then both are sent */
    expect_ok(load(yaml, 0, NULL));
    unsetenv("SLUICE_SERVICE_CRM_AUTH_HEADER");
}

static void no_secret_of_a_url_shows_in_any_form(void **state)
{
    (void)state;
    static const struct option url = {.key = "u", .kind = OPTION_URL};
    static const struct option text = {.key = "t", .kind = OPTION_TEXT};
    static const struct {
        const struct option *o;
        const char *value, *shown;
    } cases[] = {{&url, "http://a/b", "http://a/b"},
                 {&url, "http://u:canary@a", "http://u:***@a"},
                 {&url, "http://canary@a", "http://***@a"},
                 {&url, "http://a:80/v1?key=canary", "http://a:80/v1?***"},
                 {&url, "http://a/v1#canary", "http://a/v1#***"},
                 {&text, "see http://a?canary", "see http://a?***"},
                 {&text, "how?", "how?"},
                 {&text, "me@here", "me@here"},
                 {&text, "see http://u:canary@a", "see http://u:***@a"},
                 {&text, "a\033[31mb", "a?[31mb"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[128];
        option_mask(cases[i].o, cases[i].value, out, sizeof out);
        assert_string_equal(out, cases[i].shown);
        char small[8]; /* cut, never over its end */
        option_mask(cases[i].o, cases[i].value, small, sizeof small);
        assert_true(strlen(small) < sizeof small);
        assert_memory_equal(small, out, strlen(small));
    }
    assert_int_equal(load("services:\n  crm:\n    url: \"http://u:canary@a b\"\n"
                          "nats:\n  url: nats://u:canary@:4222\n",
                          0, NULL),
                     SLUICE_ERR_CONFIG);
    expect_error(":3:5: services.crm.url: \"http://u:***@a b\"");
    expect_error(":5:3: nats.url: \"nats://u:***@:4222\"");
    assert_null(strstr(report.text, "canary"));
}

static void a_base_url_with_a_query_is_refused_without_showing_it(void **state)
{
    (void)state;
    setenv("SLUICE_SERVICE_ERP_URL", "https://erp/#canary", 1);
    setenv("OPENAI_BASE_URL", "h/v1?api_key=canary", 1);
    assert_int_equal(load("services:\n  crm:\n    url: http://crm?key=canary\n"
                          "llm:\n  base_url: http://h/v1?api_key=canary\n",
                          0, NULL),
                     SLUICE_ERR_CONFIG);
    unsetenv("SLUICE_SERVICE_ERP_URL");
    unsetenv("OPENAI_BASE_URL");
    expect_error(":3:5: services.crm.url: \"http://crm?***\", expected a base URL without ? and #");
    expect_error(":5:3: llm.base_url: \"http://h/v1?***\", expected a base URL without ? and #");
    expect_error("SLUICE_SERVICE_ERP_URL: \"https://erp/#***\", expected a base URL without");
    expect_error("OPENAI_BASE_URL: \"h/v1?***\", expected a URL like scheme://host:port");
    assert_null(strstr(report.text, "canary"));
}

/* ---- Headers of the LLM ---- */

static const char *header_of(const char *name)
{
    const struct sluice_settings *s = sluice_settings_of(box);
    for (uint32_t i = 0; i < s->llm_headers_count; i++) {
        if (strcmp(s->llm_headers[i].name, name) == 0) {
            return s->llm_headers[i].value;
        }
    }
    return NULL;
}

static void see(const char *secret)
{
    assert_null(strstr(secret, "free"));
    assert_non_null(strstr(secret, "canary"));
}

static void headers_of_the_llm_come_from_file_and_environment(void **state)
{
    (void)state;
    char secret[] = "/tmp/sluice-header-XXXXXX";
    char yaml[512];
    text_file_make(secret, "canary-file\n");
    (void)snprintf(yaml, sizeof yaml,
                   "llm:\n  headers:\n    X-Team: canary-team\n    Api-Key_file: %s\n"
                   "    X.Odd!: canary\n    X_Under: free\n",
                   secret);
    setenv("LLM_HEADER_X_TEAM", "canary-yours", 1); /* the same, whatever its spelling */
    setenv("LLM_HEADER_AUTHORIZATION_FILE", secret, 1);
    expect_ok(load(yaml, 0, NULL));
    assert_int_equal(sluice_settings_of(box)->llm_headers_count, 5);
    assert_string_equal(header_of("X-Team"), "canary-yours");
    assert_string_equal(header_of("Api-Key"), "canary-file");
    assert_string_equal(header_of("X.Odd!"), "canary");
    assert_string_equal(header_of("X_Under"), "free");
    assert_string_equal(header_of("authorization"), "canary-file");
    sluice_llm_header_secrets(sluice_settings_of(box), see); /* "free" is too short for one */
    for (int as_json = 0; as_json < 2; as_json++) {
        char *text = printed(as_json);
        assert_null(strstr(text, "canary"));
        assert_non_null(strstr(text, "llm.headers.Api-Key"));
        free(text);
    }
    setenv("LLM_HEADER_X_TEAM", "", 1); /* takes it away */
    expect_ok(load("llm:\n  headers:\n    X-Team: a\n", 0, NULL));
    assert_string_equal(header_of("X-Team"), "");
    unsetenv("LLM_HEADER_X_TEAM");
    unsetenv("LLM_HEADER_AUTHORIZATION_FILE");
    expect_ok(load("llm:\n  headers:\n  model: m\n", 0, NULL));
    assert_int_equal(sluice_settings_of(box)->llm_headers_count, 0);
    unlink(secret);
}

static void what_is_wrong_with_headers_of_the_llm_is_named(void **state)
{
    (void)state;
    char flag[] = "--llm-headers-x=canary";
    char *flags[] = {flag};
    setenv("LLM_HEADER_HOST", "canary", 1);
    setenv("LLM_HEADER_X_BOTH", "canary", 1);
    setenv("LLM_HEADER_X_BOTH_FILE", "/dev/null", 1);
    setenv("LLM_HEADER_X_LINES", "canary\r\nX-Evil: 1", 1);
    setenv("LLM_HEADER_", "canary", 1);
    setenv("LLM_API_KEY", "canary", 1);
    assert_int_equal(load("llm:\n"
                          "  base_url: http://u:canary@h/v1\n"
                          "  headers:\n"
                          "    \"X Blank\": canary\n"
                          "    \"X:\": canary\n"
                          "    content-type: canary\n"
                          "    Api-Key: canary\n"
                          "    api_key: canary\n"
                          "    X-Lines: \"canary\\nX-Evil: 1\"\n"
                          "    AUTHORIZATION: Bearer canary\n",
                          1, flags),
                     SLUICE_ERR_CONFIG);
    expect_error("LLM_HEADER_HOST: \"host\", expected a header's name");
    expect_error("set twice, itself or together with its file");
    expect_error("LLM_HEADER_X_LINES: \"***\", expected one line of text");
    expect_error("LLM_HEADER_: \"\", expected a header's name");
    expect_error(":4:5: llm.headers.X Blank: \"X Blank\", expected a header's name");
    expect_error(":5:5: llm.headers.X:: \"X:\", expected a header's name");
    expect_error(":6:5: llm.headers.content-type: \"content-type\", expected a header's name");
    expect_error(":8:5: llm.headers.api_key: set twice");
    expect_error(":9:5: llm.headers.X-Lines: \"***\", expected one line of text");
    expect_error(":10:5: llm.headers.Authorization: set beside LLM_API_KEY");
    expect_error(":10:5: llm.headers.Authorization: set beside a login in LLM_BASE_URL");
    expect_error("--llm-headers-x: secrets are not taken from the command line");
    assert_null(strstr(report.text, "canary"));
    unsetenv("LLM_HEADER_HOST");
    unsetenv("LLM_HEADER_X_BOTH");
    unsetenv("LLM_HEADER_X_BOTH_FILE");
    unsetenv("LLM_HEADER_X_LINES");
    unsetenv("LLM_HEADER_");
    unsetenv("LLM_API_KEY");
    for (unsigned count = 8; count <= 9; count++) {
        char yaml[512] = "llm:\n  headers:\n";
        for (unsigned i = 0; i < count; i++) {
            size_t len = strlen(yaml);
            (void)snprintf(yaml + len, sizeof yaml - len, "    X-%u: a\n", i);
        }
        assert_int_equal(load(yaml, 0, NULL), count == 8 ? SLUICE_OK : SLUICE_ERR_CONFIG);
    }
    expect_error(":11:5: llm.headers.X-8: expected at most 8 headers");
}

/* ---- The file ---- */

/* One reading finds all of it: what is refused does not hide what follows. */
static void a_refused_value_does_not_hide_what_follows(void **state)
{
    (void)state;
    static const char yaml[] = "llm: &anchor\n"             /* 1 */
                               "  model: *anchor\n"         /* 2 */
                               "  timeout: [1, {a: b}]\n"   /* 3 */
                               "  !!str base_url: x\n"      /* 4 */
                               "  ? [complex]\n"            /* 5 */
                               "  : y\n"                    /* 6 */
                               "  ? {a: b}\n"               /* 7 */
                               "  : {c: d}\n"               /* 8 */
                               "  stream: ~\n"              /* 9 */
                               "  temperature: !!float 1\n" /* 10 */
                               "  max_tokens: x\n"          /* 11 */
                               "services:\n"                /* 12 */
                               "  crm:\n"                   /* 13 */
                               "    url:\n"                 /* 14 */
                               "      deep: {er: [x]}\n"    /* 15 */
                               "    timeout: 0\n"           /* 16 */
                               "  empty:\n"                 /* 17 */
                               "  listed: [a]\n"            /* 18 */
                               "log:\n"                     /* 19 */
                               "  level: loud\n"            /* 20 */
                               "---\n"                      /* 21 */
                               "log:\n"
                               "  level: quiet\n";
    static const char *const errors[] = {":1:6: anchors and tags",
                                         ":2:10: aliases are not",
                                         ":3:12: lists are not",
                                         ":4:3: anchors and tags",
                                         ":5:5: lists are not",
                                         ":7:5: a key must be a plain",
                                         ":9:11: null is no value",
                                         ":10:16: anchors and tags",
                                         ":11:3: llm.max_tokens: \"x\"",
                                         ":15:7: nested deeper",
                                         ":16:5: services.crm.timeout: \"0\"",
                                         ":17:3: services.empty: expected keys",
                                         ":18:11: lists are not",
                                         ":20:3: log.level: \"loud\"",
                                         ":21:1: expected one document"};
    assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
    size_t count = sizeof errors / sizeof errors[0];
    for (size_t i = 0; i < count; i++) {
        expect_error(errors[i]);
    }
    if (report.count != count + 1) { /* and the service without a URL */
        fail_msg("%u errors, expected %zu:\n%s", report.count, count + 1, report.text);
    }
}

static void empty_sections_are_fine(void **state)
{
    (void)state;
    expect_ok(load("nats:\nservices: {}\noutputs: ~\noptions:\nlog: {}\n", 0, NULL));
    expect_ok(load("", 0, NULL));
    expect_ok(load("# nothing\n", 0, NULL));
}

/* ---- Outputs and the worker's own options ---- */

static void a_worker_is_not_its_own_customer(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"  request: a.b\n  ready: a.b\n",
         "subjects.ready: \"a.b\", expected a subject that SLUICE_SUBJECT_REQUEST (\"a.b\") "
         "does not take: a worker must not be its own customer"},
        {"  request: a.*\n  ready: a.b\n  dead: c\n", "subjects.ready: \"a.b\", expected"},
        {"  request: a.>\n  ready: b\n  dead: a.b.c\n", "subjects.dead: \"a.b.c\", expected a "
                                                        "subject that SLUICE_SUBJECT_REQUEST"},
        {"  ready: c.d\n  dead: c.d\n",
         "subjects.dead: \"c.d\", expected another subject than SLUICE_SUBJECT_READY"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, "subjects:\n%s", cases[i].yaml);
        assert_int_equal(load(yaml, 0, NULL), SLUICE_ERR_CONFIG);
        assert_int_equal(report.count, 1);
        expect_error(cases[i].error);
    }
    expect_ok(load("subjects:\n  request: a.*\n  ready: a.b.c\n  dead: a\n", 0, NULL));
}

/* Also where only the worker's description tells of the subject. */
static void no_output_is_a_request_or_a_dead_letter(void **state)
{
    (void)state;
    static const char *const outputs[] = {"ready", "audit", NULL};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .outputs = outputs};
    expect_ok(load("subjects:\n  request: a.*\noutputs:\n  ready: a.b\n", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 1);
    expect_error(":4:3: outputs.ready: \"a.b\", expected a subject that SLUICE_SUBJECT_REQUEST "
                 "(\"a.*\") does not take");
    expect_ok(load("subjects:\n  dead: c.d\noutputs:\n  audit: c.d\n", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 1);
    expect_error(":4:3: outputs.audit: \"c.d\", expected another subject than SLUICE_SUBJECT_DEAD");
    expect_ok(load("subjects:\n  ready: a\n  request: a.*\n", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 1);
    expect_error("outputs.audit: \"a.audit\", expected a subject that SLUICE_SUBJECT_REQUEST");
    expect_ok(load("subjects:\n  ready: a\n  dead: a.audit\n", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 1);
    expect_error("outputs.audit: \"a.audit\", expected another subject than SLUICE_SUBJECT_DEAD");
}

static void an_output_goes_where_the_map_says_or_below_ready(void **state)
{
    (void)state;
    static const char *const outputs[] = {"ready", "audit", "third", NULL};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .outputs = outputs};
    expect_ok(load("subjects:\n  ready: a.b\noutputs:\n  audit: c.d\n", 0, NULL));
    resolve(&w);
    expect_ok(SLUICE_OK);
    static const struct {
        const char *name, *subject, *line;
    } cases[] = {{"ready", "a.b", "\"outputs.ready\":{\"value\":\"a.b\",\"origin\":\"default\"}"},
                 {"audit", "c.d", "\"outputs.audit\":{\"value\":\"c.d\",\"origin\":\"file\"}"},
                 {"third", "a.b.third",
                  "\"outputs.third\":{\"value\":\"a.b.third\",\"origin\":\"default\"}"}};
    char *text = printed(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char subject[64];
        int is_mapped = sluice_worker_output_subject(sluice_settings_of(box), cases[i].name,
                                                     subject, sizeof subject);
        assert_string_equal(subject, cases[i].subject);
        assert_int_equal(is_mapped, i == 1);
        if (strstr(text, cases[i].line) == NULL) {
            fail_msg("no %s in %s", cases[i].line, text);
        }
    }
    free(text);
}

static void a_number_of_the_worker_has_its_limits_in_each_layer(void **state)
{
    (void)state;
    static const sluice_option options[] = {
        {.key = "limit", .kind = SLUICE_OPTION_NUMBER, .default_value = "7", .min = -5, .max = 10},
        {.key = "any", .kind = SLUICE_OPTION_NUMBER},
        {.key = NULL}};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .options = options};
    static const struct {
        const char *value;
        int is_good;
    } cases[] = {{"-5", 1}, {"10", 1}, {"-6", 0}, {"11", 0}, {"1.5", 0}, {"", 0}, {"x", 0}};
    for (size_t k = 0; k < LAYERS * sizeof cases / sizeof cases[0]; k++) {
        int layer = (int)(k % LAYERS);
        const char *value = cases[k / LAYERS].value;
        char yaml[64] = "";
        char flag[64];
        char *flags[] = {flag};
        (void)snprintf(flag, sizeof flag, "--options-limit=%s", value);
        if (layer == IN_FILE) {
            (void)snprintf(yaml, sizeof yaml, "options:\n  limit: \"%s\"\n", value);
        } else if (layer == IN_ENVIRONMENT) {
            setenv("SLUICE_OPTION_LIMIT", value, 1);
        }
        expect_ok(load(yaml, layer == IN_FLAG, flags));
        resolve(&w);
        unsetenv("SLUICE_OPTION_LIMIT");
        if (cases[k / LAYERS].is_good) {
            expect_ok(SLUICE_OK);
            assert_int_equal(sluice_worker_config_number(own, "limit"), atoi(value));
        } else {
            assert_int_equal(report.count, 1);
            expect_error("expected a whole number from -5 to 10");
            assert_int_equal(sluice_worker_config_number(own, "limit"), 7);
        }
    }
    expect_ok(load("options:\n  any: -9000000000000000\n", 0, NULL));
    resolve(&w);
    expect_ok(SLUICE_OK);
    assert_int_equal(sluice_worker_config_number(own, "any"), INT64_C(-9000000000000000));
}

static void a_secret_of_the_worker_comes_from_a_file_and_never_shows(void **state)
{
    (void)state;
    static const sluice_option options[] = {
        {.key = "key", .kind = SLUICE_OPTION_SECRET, .required = 1, .help = "of the door"},
        {.key = NULL}};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .options = options};
    char secret[] = "/tmp/sluice-own-XXXXXX";
    char *flags[] = {(char *)"--options-key=canary-1"};
    text_file_make(secret, "canary-123");
    setenv("SLUICE_OPTION_KEY_FILE", secret, 1);
    expect_ok(load("", 0, NULL));
    resolve(&w);
    assert_string_equal(sluice_worker_config_text(own, "key"), "canary-123");
    for (int as_json = 0; as_json < 2; as_json++) {
        char *text = printed(as_json);
        assert_null(strstr(text, "canary"));
        assert_non_null(strstr(text, "options.key"));
        free(text);
    }
    setenv("SLUICE_OPTION_KEY", "canary-2", 1);
    expect_ok(load("", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 1);
    expect_error("expected one of them");
    unsetenv("SLUICE_OPTION_KEY_FILE");
    unsetenv("SLUICE_OPTION_KEY");
    expect_ok(load("", 1, flags));
    resolve(&w);
    expect_error("--options-key: secrets are not taken from the command line");
    assert_null(strstr(report.text, "canary"));
    unlink(secret);
}

static void a_wrong_description_is_told_row_by_row(void **state)
{
    (void)state;
    static const sluice_option options[] = {
        {.key = "Upper", .kind = SLUICE_OPTION_TEXT},
        {.key = "dash-ed", .kind = SLUICE_OPTION_TEXT},
        {.key = "kind", .kind = 7},
        {.key = "low", .kind = SLUICE_OPTION_NUMBER, .min = 1, .max = 9},
        {.key = "high", .kind = SLUICE_OPTION_NUMBER, .default_value = "10", .min = 1, .max = 9},
        {.key = "twice", .kind = SLUICE_OPTION_TEXT},
        {.key = "twice", .kind = SLUICE_OPTION_TEXT},
        {.key = NULL}};
    const sluice_worker w = {.name = "w", .require = SLUICE_REQUIRE_NONE, .options = options};
    expect_ok(load("", 0, NULL));
    resolve(&w);
    assert_int_equal(report.count, 6);
    expect_error("worker w: option Upper: expected a key of [a-z0-9_]");
    expect_error("worker w: option dash-ed: expected a key");
    expect_error("worker w: option kind: expected kind TEXT, NUMBER or SECRET");
    expect_error("worker w: option low: expected a default within its limits");
    expect_error("worker w: option high: \"10\", expected a whole number from 1 to 9");
    expect_error("worker w: option twice: declared twice");
}

static int tear_down(void **state)
{
    (void)state;
    sluice_worker_config_free(own);
    sluice_settings_free(box);
    unlink(file);
    return 0;
}

int main(void)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        unsetenv(sluice_option_rows[i].env);
    }
    text_file_make(file, "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_of_a_service_has_its_limits_in_each_layer),
        cmocka_unit_test(texts_of_a_service_are_checked),
        cmocka_unit_test(a_refused_url_is_not_missing_too),
        cmocka_unit_test(a_service_has_the_defaults_of_the_table),
        cmocka_unit_test(a_flag_is_over_the_environment_and_that_over_the_file),
        cmocka_unit_test(wrong_flags_of_the_named_sections_are_told),
        cmocka_unit_test(names_of_our_own_dependencies_are_refused),
        cmocka_unit_test(names_that_no_variable_can_tell_apart_are_refused),
        cmocka_unit_test(a_worker_may_spell_its_service_as_variables_do),
        cmocka_unit_test(variables_of_kubernetes_are_not_ours),
        cmocka_unit_test(a_token_comes_from_a_file_and_never_shows),
        cmocka_unit_test(a_token_beside_a_login_in_the_url_is_refused),
        cmocka_unit_test(no_secret_of_a_url_shows_in_any_form),
        cmocka_unit_test(a_base_url_with_a_query_is_refused_without_showing_it),
        cmocka_unit_test(headers_of_the_llm_come_from_file_and_environment),
        cmocka_unit_test(what_is_wrong_with_headers_of_the_llm_is_named),
        cmocka_unit_test(a_refused_value_does_not_hide_what_follows),
        cmocka_unit_test(empty_sections_are_fine),
        cmocka_unit_test(a_worker_is_not_its_own_customer),
        cmocka_unit_test(no_output_is_a_request_or_a_dead_letter),
        cmocka_unit_test(an_output_goes_where_the_map_says_or_below_ready),
        cmocka_unit_test(a_number_of_the_worker_has_its_limits_in_each_layer),
        cmocka_unit_test(a_secret_of_the_worker_comes_from_a_file_and_never_shows),
        cmocka_unit_test(a_wrong_description_is_told_row_by_row)};
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
