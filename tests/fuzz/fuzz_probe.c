/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes sent to the probe's port. What it answers is HTTP; whatever came before, a proper request
 * is answered properly afterwards. */
#include "fuzz.h"
#include "port/clock.h"
#include "run/probe.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint16_t probe_port(void)
{
    static struct sluice_probe *probe;
    if (probe == NULL) {
        const struct sluice_probe_config config = {
            .host = "127.0.0.1", .readiness_timeout_ms = 3600000, .loop_limit_ms = 3600000};
        struct sluice_err err = {0};
        struct sluice_probe_snapshot snapshot = {.is_connected = 1, .dependencies_count = 3};
        (void)signal(SIGPIPE, SIG_IGN);
        FUZZ_CHECK(sluice_probe_create(&config, &probe, &err) == SLUICE_OK);
        sluice_probe_set_worker(probe, "fuzz", "1.0");
        sluice_probe_set_state(probe, SLUICE_RUN_RUNNING);
        sluice_probe_update_loop(probe, sluice_mono_ms());
        sluice_probe_publish(probe, &snapshot);
    }
    return sluice_probe_port(probe);
}

/* libFuzzer's alarm may interrupt it; the connection is made all the same. */
static int connect_to(int fd, const struct sockaddr_in *address)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        return 0;
    }
    if (errno != EINTR) {
        return -1;
    }
    while (poll(&writable, 1, -1) < 0 && errno == EINTR) {
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Send, say that nothing more will come, read to the end. */
static size_t exchange(const void *data, size_t len, char *answer, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 20};
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(probe_port()),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* Each connection from another address: closed ones keep their port for a minute, and thousands
     * of connections a second would use up the ports of one. */
    static uint32_t host;
    const struct sockaddr_in from = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(0x7f010001u + host++ % 0xf00000u)};
    const int yes = 1;
    FUZZ_CHECK(fd >= 0);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    (void)bind(fd, (const struct sockaddr *)&from, sizeof from);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect_to(fd, &address) != 0) {
        perror("connect");
        fuzz_fail(__FILE__, __LINE__, "the probe takes connections");
    }
    if (len != 0) {
        (void)send(fd, data, len, MSG_NOSIGNAL); /* it may have hung up already */
    }
    (void)shutdown(fd, SHUT_WR);
    size_t got = 0;
    ssize_t n;
    while (got < size - 1 && (n = recv(fd, answer + got, size - 1 - got, 0)) > 0) {
        got += (size_t)n;
    }
    answer[got] = '\0';
    (void)close(fd);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[256 * 1024];
    static const char request[] = "GET /livez HTTP/1.0\r\n\r\n";
    static unsigned count;
    size_t len = exchange(data, size, answer, sizeof answer);
    FUZZ_CHECK(len == 0 || strncmp(answer, "HTTP/1.", 7) == 0);
    if (count++ % 16 == 0) {
        (void)exchange(request, sizeof request - 1, answer, sizeof answer);
        FUZZ_CHECK(strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200 ", 5) == 0);
    }
    return 0;
}
