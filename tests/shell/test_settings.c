/* SPDX-License-Identifier: Apache-2.0 */
/* The option table: every option at, below and above its limits, in every layer; all errors
 * together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/option_box.h"
#include "run/worker_config.h"
#include "text_file.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sluice_report report;
static struct sluice_settings_box *box;
static char file[] = "/tmp/sluice-settings-XXXXXX";

static sluice_rc load(const char *yaml, int count, char **flags)
{
    sluice_settings_free(box);
    box = NULL;
    if (yaml != NULL) {
        text_file_write(file, yaml);
    }
    return sluice_settings_load(count, flags, yaml == NULL ? NULL : file, &box, &report);
}

static void expect_error(const char *text)
{
    if (strstr(report.text, text) == NULL) {
        fail_msg("no \"%s\" in:\n%s", text, report.text);
    }
}

/* ---- One option after the other ---- */

static const char *number_text(const struct option *o, double value, char *text, size_t size)
{
    snprintf(text, size, o->kind == OPTION_COUNT ? "%.0f" : "%.15g", value);
    return text;
}

/* Values of other options that would make this one's limits clash; see settings_check. */
static void make_room(void)
{
    setenv("SLUICE_NAK_DELAY", "0.001", 1);
    setenv("SLUICE_NAK_DELAY_MAX", "86400", 1);
    setenv("SLUICE_ACK_WAIT", "86400", 1);
}

static void give_room_back(void)
{
    unsetenv("SLUICE_NAK_DELAY");
    unsetenv("SLUICE_NAK_DELAY_MAX");
    unsetenv("SLUICE_ACK_WAIT");
}

static void each_number_has_its_limits(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_option_rows[i];
        if (o->kind > OPTION_NUMBER) {
            continue;
        }
        double step = o->kind == OPTION_COUNT ? 1 : 0.01;
        const struct {
            double value;
            int is_good;
        } cases[] = {{o->min, 1}, {o->max, 1}, {o->min - step, 0}, {o->max + step, 0}};
        for (size_t k = 0; k < 4; k++) {
            char text[64];
            make_room();
            setenv(o->env, number_text(o, cases[k].value, text, sizeof text), 1);
            int is_clash = strcmp(o->env, "SLUICE_NAK_DELAY_MAX") == 0 ||
                           strcmp(o->env, "SLUICE_ACK_WAIT") == 0;
            sluice_rc rc = load(NULL, 0, NULL);
            if (cases[k].is_good && rc != SLUICE_OK && !is_clash) {
                fail_msg("%s=%s: %s", o->env, text, report.text);
            }
            if (!cases[k].is_good) {
                assert_int_equal(rc, SLUICE_ERR_CONFIG);
                expect_error(o->env);
                expect_error(text);
                expect_error("expected ");
            }
            unsetenv(o->env);
            give_room_back();
            seen++;
        }
        static const char *const bad[] = {
            "", "abc", "1x", "1e3", "0x10", " 1", "--1", "9999999999999999999", "nan", "1.5.5"};
        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
            setenv(o->env, bad[k], 1);
            if (load(NULL, 0, NULL) != SLUICE_ERR_CONFIG) {
                fail_msg("%s=%s was taken", o->env, bad[k]);
            }
            expect_error(o->env);
            unsetenv(o->env);
        }
    }
    assert_true(seen > 80);
}

static void each_word_list_refuses_other_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_option_rows[i];
        if (o->kind != OPTION_WORD && o->kind != OPTION_FLAG) {
            continue;
        }
        setenv(o->env, "perhaps", 1);
        assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
        expect_error(o->env);
        expect_error("\"perhaps\", expected ");
        assert_null(strchr(report.text, '|'));
        unsetenv(o->env);
    }
}

static void each_word_of_a_list_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_option_rows[i];
        char words[256];
        (void)snprintf(words, sizeof words, "%s", o->kind == OPTION_WORD ? o->help : "");
        words[strcspn(words, ";")] = '\0';
        setenv("MONGODB_URI", "mongodb://h", 1);
        for (char *word = strtok(words, "|"); word != NULL; word = strtok(NULL, "|")) {
            setenv(o->env, word, 1);
            assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
            unsetenv(o->env);
        }
    }
    unsetenv("MONGODB_URI");
}

static void what_a_store_may_be_is_said_in_words(void **state)
{
    (void)state;
    setenv("SLUICE_STORE", "foo", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    assert_string_equal(report.text,
                        "environment: SLUICE_STORE: \"foo\", expected sqlite or mongodb; without "
                        "it: mongodb if MONGODB_URI is set, else sqlite\n");
    setenv("SLUICE_STORE", "", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->store, "sqlite");
    setenv("MONGODB_URI", "mongodb://h", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->store, "mongodb");
    unsetenv("MONGODB_URI");
    unsetenv("SLUICE_STORE");
}

static void blanks_in_a_list_of_urls_are_named(void **state)
{
    (void)state;
    setenv("NATS_URL", "nats://a , nats://b", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error(
        "environment: NATS_URL: \"nats://a , nats://b\", expected URLs without blanks, also "
        "around the commas");
    unsetenv("NATS_URL");
}

static void names_subjects_and_urls_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *env, *value;
    } bad[] = {{"NATS_URL", "nats://a, nats://b"},
               {"NATS_URL", "nats://"},
               {"NATS_URL", "http://a"},
               {"NATS_URL", "ws://a:4222"},
               {"NATS_URL", "nats:/a"},
               {"NATS_URL", "nats://a,xnats://b"},
               {"NATS_URL", "nats://a,"},
               {"NATS_URL", "tls://:4222"},
               {"NATS_URL", "nats://u:p@"},
               {"NATS_URL", "nats://a:4222/path"},
               {"NATS_URL", "nats://a:0"},
               {"NATS_USER", "a\nb"},
               {"SLUICE_MAX_DELIVER", "5.0"},
               {"NATS_URL", ""},
               {"LLM_BASE_URL", "ftp://x"},
               {"LLM_BASE_URL", "localhost"},
               {"LLM_BASE_URL", "http://a b"},
               {"SLUICE_SUBJECT_REQUEST", "a..b"},
               {"SLUICE_SUBJECT_REQUEST", "a.>.b"},
               {"SLUICE_SUBJECT_REQUEST", "context.>"},
               {"SLUICE_SUBJECT_READY", "a.*"},
               {"SLUICE_SUBJECT_DEAD", "a b"},
               {"SLUICE_STREAM_REQUESTS", "a.b"},
               {"SLUICE_DURABLE", "a/b"},
               {"MONGODB_DATABASE", "a b"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv(bad[i].env, bad[i].value, 1);
        if (load(NULL, 0, NULL) != SLUICE_ERR_CONFIG) {
            fail_msg("%s=%s was taken", bad[i].env, bad[i].value);
        }
        expect_error(bad[i].env);
        unsetenv(bad[i].env);
    }
}

static void units_of_time_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"2", 2000},    {"2s", 2000},    {"1500ms", 1500},
                 {"2m", 120000}, {"1h", 3600000}, {"0.5", 500}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("LLM_TIMEOUT", cases[i].text, 1);
        assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
        assert_int_equal(sluice_settings_of(box)->llm_timeout_ms, cases[i].ms);
    }
    unsetenv("LLM_TIMEOUT");
}

/* ---- Layers ---- */

static void flag_over_environment_over_file_over_default(void **state)
{
    (void)state;
    char *flags[] = {(char *)"--llm-model=from-flag"};
    assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->llm_model, "");
    assert_int_equal(load("llm:\n  model: from-file\n", 0, NULL), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->llm_model, "from-file");
    setenv("LLM_MODEL", "from-environment", 1);
    assert_int_equal(load("llm:\n  model: from-file\n", 0, NULL), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->llm_model, "from-environment");
    assert_int_equal(load("llm:\n  model: from-file\n", 1, flags), SLUICE_OK);
    assert_string_equal(sluice_settings_of(box)->llm_model, "from-flag");
    unsetenv("LLM_MODEL");
}

static void all_errors_of_all_layers_come_together(void **state)
{
    (void)state;
    char *flags[] = {(char *)"--probe-port", (char *)"70000", (char *)"--no-such-flag",
                     (char *)"--llm-api-key=x", (char *)"--llm-model"};
    setenv("NATS_CONNECT_TIMEOUT", "abc", 1);
    setenv("SERVICE_READINESS_TIME_OUT", "-1", 1);
    assert_int_equal(load("nats:\n  url: \"\"\n  urll: x\nlog:\n   level: loud\n", 5, flags),
                     SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 9);
    expect_error(":2:3: nats.url: \"\", expected not to be empty");
    expect_error(":3:3: nats.urll: unknown key; did you mean nats.url?");
    expect_error(":5:4: log.level: \"loud\", expected debug, info, warn or error");
    expect_error("environment: NATS_CONNECT_TIMEOUT: \"abc\"");
    expect_error("environment: SERVICE_READINESS_TIME_OUT: \"-1\"");
    expect_error("--probe-port: \"70000\", expected a whole number from 0 to 65535");
    expect_error("--no-such-flag: unknown flag");
    expect_error("--llm-api-key: secrets are not taken from the command line");
    expect_error("--llm-model: needs a value");
    unsetenv("NATS_CONNECT_TIMEOUT");
    unsetenv("SERVICE_READINESS_TIME_OUT");
}

static void what_yaml_can_do_more_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } cases[] = {{"nats: &a\n  url: x\n", ":1:7: anchors and tags are not supported"},
                 {"nats:\n  url: *a\n", "unknown anchor\n:2:8: aliases are not supported"},
                 {"nats:\n  url: !!str x\n", ":2:8: anchors and tags are not supported"},
                 {"nats:\n  url: [a]\n", ":2:8: lists are not supported here"},
                 {"nats:\n  url:\n    deep: x\n", ":3:5: nested deeper than section and key"},
                 {"- a\n", ":1:1: lists are not supported here"},
                 {"nats: x\n", ":1:1: nats: expected a section with keys"},
                 {"log:\n  level: info\nbar: 1\n", ":3:1: bar: expected a section with keys"},
                 {"nats:\n  url: a\nlog:\n  level: info\nnats:\n  user: b\n",
                  ":5:1: nats: a second time, the first is in line 1"},
                 {"services:\n  a:\n    url: http://x\n  a:\n    timeout: 1\n",
                  ":4:3: services.a: a second time, the first is in line 2"},
                 {"runtime:\n  foo: 1\n",
                  ":2:3: runtime.foo: unknown key; `sluice check --reference` lists them"},
                 {"nast:\n  url: a\n", ":2:3: nast.url: unknown key; did you mean nats.url?"},
                 {"just text\n", ":1:1: expected sections like `nats:`"},
                 {"nats:\n  url: a\n  url: b\n", ":3:3: nats.url: set twice"},
                 {"nats:\n\turl: a\n", ":2:"},
                 {"nats:\n  url: \"a\n", ":3:"},
                 {"services:\n  crm: http://x\n", ":2:3: crm: expected a section with keys"},
                 {"services:\n  crm:\n    url:\n      x: y\n", ":4:7: nested deeper"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (load(cases[i].yaml, 0, NULL) != SLUICE_ERR_CONFIG) {
            fail_msg("taken: %s", cases[i].yaml);
        }
        const char *newline = strchr(cases[i].error, '\n');
        expect_error(newline == NULL ? cases[i].error : newline + 1);
    }
}

static void missing_and_oversize_files_are_named(void **state)
{
    (void)state;
    sluice_settings_free(box);
    box = NULL;
    assert_int_equal(sluice_settings_load(0, NULL, "/nonexistent/worker.yaml", &box, &report),
                     SLUICE_ERR_CONFIG);
    expect_error("/nonexistent/worker.yaml: No such file");
    char *big = malloc(300000);
    memset(big, '#', 299999);
    big[299999] = '\0';
    assert_int_equal(load(big, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error("more than 256 KiB");
    free(big);
}

/* ---- Secrets ---- */

static void secrets_come_from_files_and_never_show(void **state)
{
    (void)state;
    static const char given[] = "mongodb://u:canary-123@host\n"; /* good for all of them */
    char secret[] = "/tmp/sluice-secret-XXXXXX";
    text_file_make(secret, given);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option *o = &sluice_option_rows[i];
        if (o->kind != OPTION_SECRET) {
            continue;
        }
        char name[128];
        snprintf(name, sizeof name, "%s_FILE", o->env);
        setenv(name, secret, 1);
        if (strcmp(o->env, "NATS_PASSWORD") == 0) { /* nothing alone */
            setenv("NATS_USER", "me", 1);
        }
        assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
        const char *value;
        memcpy(&value, (const char *)sluice_settings_of(box) + o->offset, sizeof value);
        assert_int_equal(strlen(value), strlen(given) - 1);
        assert_memory_equal(value, given, strlen(value));
        for (int as_json = 0; as_json < 2; as_json++) {
            char *text = NULL;
            size_t len = 0;
            FILE *out = open_memstream(&text, &len);
            sluice_settings_print(box, NULL, NULL, out, as_json);
            fclose(out);
            assert_null(strstr(text, "canary"));
            assert_non_null(strstr(text, "***"));
            free(text);
        }
        setenv(o->env, "canary-456", 1);
        assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
        expect_error("set together with");
        assert_null(strstr(report.text, "canary"));
        unsetenv(o->env);
        setenv(name, "/nonexistent/secret", 1);
        assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
        expect_error("/nonexistent/secret: No such file");
        unsetenv(name);
        unsetenv("NATS_USER");
    }
    unlink(secret);
}

static void passwords_in_urls_do_not_show(void **state)
{
    (void)state;
    setenv("NATS_URL", "nats://me:canary@host:4222", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    sluice_settings_print(box, NULL, NULL, out, 0);
    fclose(out);
    assert_null(strstr(text, "canary"));
    assert_non_null(strstr(text, "nats://me:***@host:4222"));
    free(text);
    unsetenv("NATS_URL");
}

static void a_mongodb_uri_has_its_scheme_and_a_host(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        int is_good;
    } cases[] = {{"mongodb://h", 1},
                 {"mongodb://h:27017/db?replicaSet=r", 1},
                 {"mongodb://u:canary@a:1,b,[::1]:2/?tls=true", 1},
                 {"mongodb+srv://u:canary@cluster.example/db", 1},
                 {"mongodb://%2Ftmp%2Fmongodb.sock/db", 1},
                 {"mongodb:/u:canary@h", 0},
                 {"mongo://u:canary@h", 0},
                 {"http://u:canary@h", 0},
                 {"canary", 0},
                 {"mongodb://", 0},
                 {"mongodb+srv://", 0},
                 {"mongodb://u:canary@", 0},
                 {"mongodb://u:canary@/db", 0},
                 {"mongodb:///canary", 0},
                 {"mongodb://?canary@h", 0},
                 {"mongodb://h:canary", 0},
                 {"mongodb://h:65536", 0},
                 {"mongodb://u:canary@a,", 0},
                 {"mongodb://u:canary@a,,b", 0},
                 {"mongodb://u:canary@a b", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("MONGODB_URI", cases[i].uri, 1);
        sluice_rc rc = load(NULL, 0, NULL);
        if ((rc == SLUICE_OK) != cases[i].is_good) {
            fail_msg("%s: %s %s", cases[i].uri, sluice_status_name(rc), report.text);
        }
        if (!cases[i].is_good) {
            assert_int_equal(report.count, 1);
            expect_error("environment: MONGODB_URI: \"***\", expected a URI like mongodb://host");
        }
        assert_null(strstr(report.text, "canary"));
    }
    setenv("SLUICE_STORE", "mongodb", 1); /* one that was refused is not missing as well */
    setenv("LLM_TIMEOUT", "soon", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 2);
    unsetenv("LLM_TIMEOUT");
    unsetenv("SLUICE_STORE");
    unsetenv("MONGODB_URI");
}

static void nats_urls_may_be_a_list_and_lack_a_scheme(void **state)
{
    (void)state;
    static const char *const good[] = {"nats://a", "TLS://a:4222",
                                       "a:4222,nats://u:p@b,tls://[::1]:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        setenv("NATS_URL", good[i], 1);
        if (load(NULL, 0, NULL) != SLUICE_OK) {
            fail_msg("%s: %s", good[i], report.text);
        }
    }
    unsetenv("NATS_URL");
}

static void secrets_are_one_line_and_not_empty(void **state)
{
    (void)state;
    setenv("LLM_API_KEY", "canary\nX-Evil: 1", 1);
    setenv("NATS_PASSWORD", "canary\r", 1);
    setenv("NATS_TOKEN_FILE", "/dev/null", 1);
    setenv("MONGODB_URI_FILE", "", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 4);
    expect_error("LLM_API_KEY: \"***\", expected one line of text");
    expect_error("NATS_PASSWORD: \"***\", expected one line of text");
    expect_error("NATS_TOKEN: /dev/null: empty, expected a secret");
    expect_error("MONGODB_URI: no file is named, expected the path of one");
    assert_null(strstr(report.text, "canary"));
    unsetenv("LLM_API_KEY");
    unsetenv("NATS_PASSWORD");
    unsetenv("NATS_TOKEN_FILE");
    unsetenv("MONGODB_URI_FILE");
}

/* ---- What no single value shows ---- */

static void a_login_beside_that_of_the_url_is_refused(void **state)
{
    (void)state;
    char user[] = "--nats-user=me";
    char *flags[] = {user};
    setenv("NATS_TOKEN", "canary", 1);
    setenv("OPENAI_API_KEY", "canary", 1);
    assert_int_equal(load("nats:\n"
                          "  url: nats://a,nats://u:canary@b\n"
                          "  password: canary\n"
                          "  creds: /dev/null\n"
                          "llm:\n"
                          "  base_url: http://u:canary@h/v1\n",
                          1, flags),
                     SLUICE_ERR_CONFIG);
    expect_error(":2:3: nats.url: a login stands in it beside --nats-user, expected one of them");
    expect_error(":2:3: nats.url: a login stands in it beside NATS_TOKEN of the environment, "
                 "expected one of them");
    expect_error(":2:3: nats.url: a login stands in it beside nats.password (/tmp/");
    expect_error(":3:3), expected one of them");
    expect_error("beside nats.creds (/tmp/");
    expect_error(":6:3: llm.base_url: a login stands in it beside LLM_API_KEY or OPENAI_API_KEY of "
                 "the environment, expected one of them");
    assert_null(strstr(report.text, "canary"));
    unsetenv("NATS_TOKEN");
    setenv("NATS_URL", "nats://canary@h", 1);
    setenv("NATS_NKEY", "/dev/null", 1);
    assert_int_equal(load("llm:\n  base_url: http://h/v1@x\n", 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 2); /* what stands behind the host is no login */
    expect_error("NATS_NKEY: /dev/null: no valid nkey");
    expect_error("NATS_URL: a login stands in it beside NATS_NKEY of the environment, expected");
    unsetenv("NATS_NKEY");
    unsetenv("NATS_URL");
    unsetenv("OPENAI_API_KEY");
    setenv("NATS_PASSWORD", "canary", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error("NATS_PASSWORD: set alone, expected with NATS_USER");
    assert_int_equal(load(NULL, 1, flags), SLUICE_OK);
    unsetenv("NATS_PASSWORD");
}

static void files_of_nats_have_to_be_there(void **state)
{
    (void)state;
    setenv("NATS_CREDS", "/nonexistent/a.creds", 1);
    setenv("NATS_NKEY", "/", 1);
    setenv("NATS_CERT", "/nonexistent/cert", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 5);
    expect_error("NATS_CREDS: /nonexistent/a.creds: No such file");
    expect_error("NATS_NKEY: /: Is a directory");
    expect_error("NATS_CERT: /nonexistent/cert: No such file");
    expect_error("NATS_KEY: not set, expected with NATS_CERT");
    expect_error("expected one of NATS_USER, NATS_TOKEN, NATS_NKEY and NATS_CREDS, not 2");
    unsetenv("NATS_CREDS");
    unsetenv("NATS_NKEY");
    unsetenv("NATS_CERT");
    setenv("NATS_KEY", "/dev/null", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    expect_error("NATS_CERT: not set, expected with NATS_KEY");
    unsetenv("NATS_KEY");
}

/* All at once, and where they are named. */
static void files_of_nats_have_to_be_what_they_are_for(void **state)
{
    (void)state;
    assert_int_equal(load("nats:\n  creds: /dev/null\n  ca: /dev/null\n  cert: /dev/null\n"
                          "  key: /dev/null\nlog:\n  level: loud\n",
                          0, NULL),
                     SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 5);
    expect_error(":2:3: nats.creds: /dev/null: no JWT");
    expect_error(":3:3: nats.ca: /dev/null: no certificate");
    expect_error(":4:3: nats.cert: /dev/null: no certificate");
    expect_error(":5:3: nats.key: /dev/null: no private key");
    expect_error(":7:3: log.level: ");
    assert_int_equal(load("nats:\n  nkey: /dev/null\n  ca: /\n", 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 2);
    expect_error(":2:3: nats.nkey: /dev/null: no valid nkey");
    expect_error(":3:3: nats.ca: /: Is a directory");
}

static void each_of_the_streams_is_another(void **state)
{
    (void)state;
    static const char *const variables[] = {"SLUICE_STREAM_REQUESTS", "SLUICE_STREAM_READY",
                                            "SLUICE_STREAM_DEAD"};
    for (size_t i = 0; i < 3; i++) { /* all but one are equal */
        setenv(variables[(i + 1) % 3], "ONE", 1);
        setenv(variables[(i + 2) % 3], "ONE", 1);
        assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
        assert_int_equal(report.count, 1);
        expect_error("\"ONE\", expected another stream than SLUICE_STREAM_");
        unsetenv(variables[(i + 1) % 3]);
        unsetenv(variables[(i + 2) % 3]);
    }
}

static void values_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    setenv("SLUICE_STALL_LIMIT", "10", 1);
    setenv("SLUICE_NAK_DELAY", "61", 1);
    setenv("SLUICE_STORE", "mongodb", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_ERR_CONFIG);
    assert_int_equal(report.count, 3);
    expect_error("SLUICE_STALL_LIMIT: 10 s, expected less than a third of SLUICE_ACK_WAIT (30 s)");
    expect_error("SLUICE_NAK_DELAY: 61 s, expected at most SLUICE_NAK_DELAY_MAX (60 s)");
    expect_error("MONGODB_URI: not set");
    unsetenv("SLUICE_STALL_LIMIT");
    unsetenv("SLUICE_NAK_DELAY");
    unsetenv("SLUICE_STORE");
}

static void a_default_stall_limit_follows_a_short_ack_wait(void **state)
{
    (void)state;
    setenv("SLUICE_ACK_WAIT", "4", 1);
    assert_int_equal(load(NULL, 0, NULL), SLUICE_OK);
    assert_int_equal(sluice_settings_of(box)->stall_limit_ms, 1000);
    unsetenv("SLUICE_ACK_WAIT");
}

/* ---- Variables that are none of ours ---- */

static const char *warned(const char *variable, const char *value)
{
    report = (struct sluice_report){.count = 0};
    setenv(variable, value, 1);
    sluice_settings_variables_check(&report);
    unsetenv(variable);
    return report.text;
}

static void a_mistyped_variable_is_named_with_the_one_that_was_meant(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"SLUICE_MAX_DELIVERY", "SLUICE_MAX_DELIVER"},
                                           {"SLUICE_LOGLEVEL", "SLUICE_LOG_LEVEL"},
                                           {"SLUICE_OUTPUT", "SLUICE_OUTPUTS"},
                                           {"SLUICE_NATS_URL", "NATS_URL"},
                                           {"SLUICE_LLM_API_KEY_FILE", "LLM_API_KEY_FILE"},
                                           {"SLUICE_ACK.WAIT", "SLUICE_ACK_WAIT"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[256];
        snprintf(line, sizeof line,
                 "environment: %s: unknown variable, ignored; did you mean %s?\n", cases[i][0],
                 cases[i][1]);
        assert_string_equal(warned(cases[i][0], "canary"), line);
        assert_int_equal(report.count, 1);
    }
    assert_string_equal(warned("SLUICE_SERVERS", "/tmp"),
                        "environment: SLUICE_SERVERS: unknown variable, ignored\n");
}

static void known_variables_are_not_warned_about(void **state)
{
    (void)state;
    static const char *const others[] = {"SLUICE_OUTPUTS",  "SLUICE_OPTION_X",
                                         "SLUICE_SERVICE_", "SLUICE_BENCH_NULL_STORE",
                                         "SLUICES",         "NATS_URLS"};
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        assert_string_equal(warned(sluice_option_rows[i].env, "x"), "");
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_string_equal(warned(others[i], "x"), "");
    }
}

/* Of Services named `sluice` and `sluice-worker`. */
static void links_of_kubernetes_are_not_warned_about(void **state)
{
    (void)state;
    static const char *const links[][2] = {
        {"SLUICE_SERVICE_HOST", "10.0.0.1"},       {"SLUICE_SERVICE_PORT", "80"},
        {"SLUICE_PORT", "tcp://10.0.0.1:80"},      {"SLUICE_PORT_8080_TCP", "tcp://10.0.0.1:8080"},
        {"SLUICE_PORT_8080_TCP_PROTO", "tcp"},     {"SLUICE_PORT_53_UDP_PORT", "53"},
        {"SLUICE_PORT_8080_TCP_ADDR", "10.0.0.1"}, {"SLUICE_WORKER_SERVICE_HOST", "10.0.0.1"},
        {"SLUICE_WORKER_SERVICE_PORT_HTTP", "80"}, {"SLUICE_WORKER_PORT", "tcp://10.0.0.1:80"}};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        assert_string_equal(warned(links[i][0], links[i][1]), "");
    }
    static const char *const others[] = {"SLUICE_PROBE_PORT", "SLUICE_PORT_X_TCP",
                                         "SLUICE_PORT_80_TCP_MODE", "SLUICE_PROBE_HOST"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_non_null(strstr(warned(others[i], "9090"), "unknown variable"));
    }
}

/* ---- Services, outputs, options of a worker ---- */

static void services_come_from_file_and_environment(void **state)
{
    (void)state;
    setenv("SLUICE_SERVICE_BIG_CRM_TIMEOUT", "5", 1);
    setenv("SLUICE_SERVICE_OTHER_URL", "https://other/", 1);
    assert_int_equal(
        load("services:\n  Big-crm:\n    url: http://crm\n    timeout: 3\n    token: canary\n", 0,
             NULL),
        SLUICE_OK);
    const struct sluice_settings *s = sluice_settings_of(box);
    assert_int_equal(s->services_count, 2);
    assert_string_equal(s->services[0].name, "Big-crm");
    assert_string_equal(s->services[0].url, "http://crm");
    assert_int_equal(s->services[0].timeout_ms, 5000);
    assert_int_equal(s->services[0].breaker_failures, 5);
    assert_string_equal(s->services[1].name, "other");
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    sluice_settings_print(box, NULL, NULL, out, 1);
    fclose(out);
    assert_null(strstr(text, "canary"));
    assert_non_null(
        strstr(text, "\"services.Big-crm.timeout\":{\"value\":\"5\",\"origin\":\"environment\"}"));
    free(text);
    unsetenv("SLUICE_SERVICE_BIG_CRM_TIMEOUT");
    unsetenv("SLUICE_SERVICE_OTHER_URL");
}

static void what_is_wrong_with_services_and_outputs_is_named(void **state)
{
    (void)state;
    setenv("SLUICE_SERVICE_CRM", "x", 1);
    setenv("SLUICE_SERVICE_CRM_COLOUR", "x", 1);
    setenv("SLUICE_OUTPUTS", "ready,audit=a..b,audit=a.b,audit=c.d", 1);
    assert_int_equal(load("services:\n  crm:\n    url: ftp://x\n    timeout: 0\n    speed: 1\n  "
                          "\"a b\":\n    url: http://x\n"
                          "  lost:\n    timeout: 1\n",
                          0, NULL),
                     SLUICE_ERR_CONFIG);
    expect_error(":3:5: services.crm.url: \"ftp://x\", expected a URL");
    expect_error(":4:5: services.crm.timeout: \"0\", expected seconds from 0.001 to 3600");
    expect_error(":5:5: services.crm.speed: unknown key, expected url, timeout");
    expect_error("\"a b\", expected a service's name");
    expect_error("services.lost.url: not set");
    expect_error("environment: SLUICE_SERVICE_CRM: unknown");
    expect_error("environment: SLUICE_SERVICE_CRM_COLOUR: unknown");
    expect_error("SLUICE_OUTPUTS: \"ready\", expected name=subject");
    expect_error("SLUICE_OUTPUTS: \"a..b\", expected a subject");
    expect_error("SLUICE_OUTPUTS: audit: set twice");
    unsetenv("SLUICE_SERVICE_CRM");
    unsetenv("SLUICE_SERVICE_CRM_COLOUR");
    unsetenv("SLUICE_OUTPUTS");
}

static void there_is_room_for_thirteen_services(void **state)
{
    (void)state;
    char name[64];
    for (int n = 1; n <= 14; n++) {
        snprintf(name, sizeof name, "SLUICE_SERVICE_S%d_URL", n);
        setenv(name, "http://x", 1);
        assert_int_equal(load(NULL, 0, NULL), n <= 13 ? SLUICE_OK : SLUICE_ERR_CONFIG);
    }
    expect_error("expected at most 13 services");
    for (int n = 1; n <= 14; n++) {
        snprintf(name, sizeof name, "SLUICE_SERVICE_S%d_URL", n);
        unsetenv(name);
    }
}

static const sluice_option own_options[] = {
    {.key = "greeting", .kind = SLUICE_OPTION_TEXT, .default_value = "hello"},
    {.key = "limit", .kind = SLUICE_OPTION_NUMBER, .default_value = "7", .min = -5, .max = 10},
    {.key = "token", .kind = SLUICE_OPTION_SECRET, .required = 1, .help = "of the archive"},
    {.key = NULL}};
static const char *const own_services[] = {"crm", NULL};
static const sluice_worker own = {
    .name = "w", .require = SLUICE_REQUIRE_NONE, .options = own_options};

static struct sluice_config *resolve(const sluice_worker *worker)
{
    report = (struct sluice_report){.count = 0};
    return sluice_worker_config_create(sluice_settings_of(box), worker, &report);
}

static void a_worker_reads_its_options_by_kind(void **state)
{
    (void)state;
    setenv("SLUICE_OPTION_LIMIT", "-5", 1);
    assert_int_equal(load("options:\n  token: canary\n  limit: 3\n", 0, NULL), SLUICE_OK);
    struct sluice_config *c = resolve(&own);
    assert_int_equal(report.count, 0);
    assert_string_equal(sluice_worker_config_text(c, "greeting"), "hello");
    assert_string_equal(sluice_worker_config_text(c, "token"), "canary");
    assert_int_equal(sluice_worker_config_number(c, "limit"), -5);
    assert_null(sluice_worker_config_text(c, "limit"));
    assert_null(sluice_worker_config_text(c, "unknown"));
    assert_int_equal(sluice_worker_config_number(c, "greeting"), 0);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    sluice_worker_config_print(c, out, 0);
    fclose(out);
    assert_null(strstr(text, "canary"));
    assert_non_null(strstr(text, "-5  (environment)"));
    free(text);
    sluice_worker_config_free(c);
    unsetenv("SLUICE_OPTION_LIMIT");
}

static void a_worker_is_not_started_on_wrong_options(void **state)
{
    (void)state;
    sluice_worker demanding = own;
    demanding.services = own_services;
    demanding.require = SLUICE_REQUIRE_DEFAULT;
    assert_int_equal(
        load("options:\n  limit: 11\n  colour: red\noutputs:\n  other: a.b\n", 0, NULL), SLUICE_OK);
    sluice_worker_config_free(resolve(&demanding));
    assert_int_equal(report.count, 6);
    expect_error(":2:3: options.limit: \"11\", expected a whole number from -5 to 10");
    expect_error(":3:3: options.colour: worker w has no option colour");
    expect_error("options.token: not set, expected by worker w: of the archive");
    expect_error(":5:3: outputs.other: worker w has no output other");
    expect_error("services.crm.url: not set, expected because worker w calls this service");
    expect_error("LLM_MODEL: not set");
}

static int tear_down(void **state)
{
    (void)state;
    sluice_settings_free(box);
    unlink(file);
    return 0;
}

int main(void)
{
    static const char *const foreign[] = {"OPENAI_API_KEY", "OPENAI_BASE_URL"};
    for (char **e = environ; *e != NULL;) { /* those of the tests, perhaps */
        char name[256];
        int is_ours = strncmp(*e, "SLUICE_", 7) == 0;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
        e += !is_ours || unsetenv(name) != 0;
    }
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        unsetenv(sluice_option_rows[i].env);
    }
    for (size_t i = 0; i < 2; i++) {
        unsetenv(foreign[i]);
    }
    text_file_make(file, "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number_has_its_limits),
        cmocka_unit_test(each_word_list_refuses_other_words),
        cmocka_unit_test(each_word_of_a_list_is_taken),
        cmocka_unit_test(what_a_store_may_be_is_said_in_words),
        cmocka_unit_test(blanks_in_a_list_of_urls_are_named),
        cmocka_unit_test(names_subjects_and_urls_are_checked),
        cmocka_unit_test(units_of_time_are_understood),
        cmocka_unit_test(flag_over_environment_over_file_over_default),
        cmocka_unit_test(all_errors_of_all_layers_come_together),
        cmocka_unit_test(what_yaml_can_do_more_is_refused_with_its_place),
        cmocka_unit_test(missing_and_oversize_files_are_named),
        cmocka_unit_test(secrets_come_from_files_and_never_show),
        cmocka_unit_test(passwords_in_urls_do_not_show),
        cmocka_unit_test(a_mongodb_uri_has_its_scheme_and_a_host),
        cmocka_unit_test(nats_urls_may_be_a_list_and_lack_a_scheme),
        cmocka_unit_test(secrets_are_one_line_and_not_empty),
        cmocka_unit_test(a_login_beside_that_of_the_url_is_refused),
        cmocka_unit_test(files_of_nats_have_to_be_there),
        cmocka_unit_test(files_of_nats_have_to_be_what_they_are_for),
        cmocka_unit_test(each_of_the_streams_is_another),
        cmocka_unit_test(values_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_default_stall_limit_follows_a_short_ack_wait),
        cmocka_unit_test(a_mistyped_variable_is_named_with_the_one_that_was_meant),
        cmocka_unit_test(known_variables_are_not_warned_about),
        cmocka_unit_test(links_of_kubernetes_are_not_warned_about),
        cmocka_unit_test(services_come_from_file_and_environment),
        cmocka_unit_test(what_is_wrong_with_services_and_outputs_is_named),
        cmocka_unit_test(there_is_room_for_thirteen_services),
        cmocka_unit_test(a_worker_reads_its_options_by_kind),
        cmocka_unit_test(a_worker_is_not_started_on_wrong_options)};
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
