/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_status.h"

#include "nats_fixture.h"

static void each_known_status_has_its_meaning(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *text;
        enum sluice_pull_status status;
    } rows[] = {
        {100, "Idle Heartbeat", SLUICE_PULL_ALIVE},
        {100, "", SLUICE_PULL_ALIVE},
        {404, "No Messages", SLUICE_PULL_ENDED},
        {408, "Request Timeout", SLUICE_PULL_ENDED},
        {408, "Interest Expired", SLUICE_PULL_ENDED},
        {409, "Batch Completed", SLUICE_PULL_ENDED},
        {409, "Message Size Exceeds MaxBytes", SLUICE_PULL_ENDED},
        {409, "Leadership Change", SLUICE_PULL_MOVED},
        {409, "Server Shutdown", SLUICE_PULL_MOVED},
        {409, "Consumer Deleted", SLUICE_PULL_GONE},
        {409, "consumer deleted", SLUICE_PULL_GONE},
        {503, "", SLUICE_PULL_GONE},
        {503, NULL, SLUICE_PULL_GONE},
        {409, "Exceeded MaxWaiting", SLUICE_PULL_UNKNOWN},
        {409, "Exceeded MaxRequestBatch of 1", SLUICE_PULL_UNKNOWN},
        {409, "Consumer is push based", SLUICE_PULL_UNKNOWN},
        {409, NULL, SLUICE_PULL_UNKNOWN},
        {412, "Required Api Level", SLUICE_PULL_UNKNOWN},
        {423, "Nats-Wrong-Pin-Id", SLUICE_PULL_UNKNOWN},
        {400, "Bad Request", SLUICE_PULL_UNKNOWN},
        {0, "", SLUICE_PULL_UNKNOWN},
        {-1, "Consumer Delete", SLUICE_PULL_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sluice_nats_status_of(rows[i].code, rows[i].text), rows[i].status);
    }
}

static void every_code_has_some_meaning(void **state)
{
    (void)state;
    for (int code = -5; code < 1200; code++) {
        enum sluice_pull_status status = sluice_nats_status_of(code, "whatever");
        assert_in_range(status, SLUICE_PULL_ALIVE, SLUICE_PULL_UNKNOWN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_known_status_has_its_meaning),
        cmocka_unit_test(every_code_has_some_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
