/* SPDX-License-Identifier: Apache-2.0 */
/* The limit that libcurl sets: the same request body again and again over warm connections, one at
 * a time or many at once, with nothing around it. Many at once are driven like the worker drives
 * them: multi handles of 64 transfers, sockets by event, the buffers as small as libcurl has them.
 */
#include "cli/bench.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MULTI_TRANSFERS 64u
#define EVENTS          256
#define BUFFER_SIZE     1024L  /* libcurl's least, as the worker's for short answers */
#define UPLOAD_SIZE     16384L /* also */
#define CALL_LIMIT_MS   20000L

struct multi {
    CURLM *handle;
    struct raw *raw;
    int64_t due_ns; /* when libcurl wants to be called; 0: not */
};

struct raw {
    struct bench_shared *shared;
    struct curl_slist *headers;
    struct multi *multis;
    uint32_t multis_count, at_once;
    uint32_t count;         /* calls to make behind the first round */
    uint32_t started, done; /* calls, the first round included */
    int epoll, is_failed;
    int64_t cpu_before_ns;
    char url[128], body[1200];
};

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

CURL *bench_easy_make(const char *url, struct curl_slist *headers, const char *body, size_t size)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return NULL;
    }
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, CALL_LIMIT_MS);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_SIZE);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)size);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    return easy;
}

static CURL *easy_make(const struct raw *raw)
{
    return bench_easy_make(raw->url, raw->headers, raw->body, sizeof raw->body);
}

static void finish(struct raw *raw, uint32_t done)
{
    atomic_store(&raw->shared->raw_cpu_ns, (uint64_t)(bench_cpu_ns(getpid()) - raw->cpu_before_ns));
    atomic_store(&raw->shared->raw_count, done);
}

/* ---- One at a time */

static int run_serial(struct raw *raw)
{
    CURL *easy = easy_make(raw);
    uint32_t done = 0;
    CURLcode rc = easy == NULL ? CURLE_OUT_OF_MEMORY : curl_easy_perform(easy); /* connects */
    raw->cpu_before_ns = bench_cpu_ns(getpid());
    while (rc == CURLE_OK && done < raw->count) {
        rc = curl_easy_perform(easy);
        done += rc == CURLE_OK;
    }
    finish(raw, done);
    curl_easy_cleanup(easy);
    return rc == CURLE_OK ? 0 : 1;
}

/* ---- Many at once */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct multi *multi = ctx;
    struct epoll_event event = {.data.u64 =
                                    (uint64_t)(multi - multi->raw->multis) << 32 | (uint32_t)fd};
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(multi->raw->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = ((what & CURL_POLL_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                   ((what & CURL_POLL_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    int op = known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(multi->raw->epoll, op, fd, &event) != 0) {
        return -1;
    }
    return curl_multi_assign(multi->handle, fd, multi) == CURLM_OK ? 0 : -1;
}

static int on_timer(CURLM *handle, long timeout_ms, void *ctx)
{
    struct multi *multi = ctx;
    (void)handle;
    multi->due_ns = timeout_ms < 0 ? 0 : bench_now_ns() + timeout_ms * 1000000 + 1;
    return 0;
}

/* What has ended begins again until there were enough. */
static void restart_ended(struct multi *multi)
{
    struct raw *raw = multi->raw;
    CURLMsg *message;
    int left = 0;
    while ((message = curl_multi_info_read(multi->handle, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        raw->is_failed |= message->data.result != CURLE_OK;
        if (++raw->done == raw->at_once) { /* all connections are warm */
            raw->cpu_before_ns = bench_cpu_ns(getpid());
        }
        (void)curl_multi_remove_handle(multi->handle, easy);
        if (raw->started < raw->at_once + raw->count) {
            raw->started++;
            raw->is_failed |= curl_multi_add_handle(multi->handle, easy) != CURLM_OK;
        } else {
            curl_easy_cleanup(easy);
        }
    }
}

static void act(struct multi *multi, curl_socket_t fd, int events)
{
    int running = 0;
    multi->raw->is_failed |=
        curl_multi_socket_action(multi->handle, fd, events, &running) != CURLM_OK;
    restart_ended(multi);
}

static void run_due(struct raw *raw)
{
    int64_t now = bench_now_ns();
    for (uint32_t i = 0; i < raw->multis_count; i++) {
        if (raw->multis[i].due_ns != 0 && raw->multis[i].due_ns <= now) {
            raw->multis[i].due_ns = 0;
            act(&raw->multis[i], CURL_SOCKET_TIMEOUT, 0);
        }
    }
}

static int wait_ms(const struct raw *raw)
{
    int64_t now = bench_now_ns();
    int64_t least = 1000000000;
    for (uint32_t i = 0; i < raw->multis_count; i++) {
        int64_t left = raw->multis[i].due_ns - now;
        if (raw->multis[i].due_ns != 0 && left < least) {
            least = left;
        }
    }
    return least <= 0 ? 0 : (int)((least + 999999) / 1000000);
}

static int start_many(struct raw *raw)
{
    raw->epoll = epoll_create1(EPOLL_CLOEXEC);
    raw->multis = calloc(raw->multis_count, sizeof *raw->multis);
    if (raw->epoll < 0 || raw->multis == NULL) {
        return 1;
    }
    for (uint32_t i = 0; i < raw->multis_count; i++) {
        struct multi *multi = &raw->multis[i];
        *multi = (struct multi){.handle = curl_multi_init(), .raw = raw};
        if (multi->handle == NULL) {
            return 1;
        }
        (void)curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_socket);
        (void)curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
        (void)curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_timer);
        (void)curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
    }
    for (; raw->started < raw->at_once; raw->started++) {
        CURL *easy = easy_make(raw);
        if (easy == NULL ||
            curl_multi_add_handle(raw->multis[raw->started / MULTI_TRANSFERS].handle, easy) !=
                CURLM_OK) {
            return 1;
        }
    }
    return 0;
}

/* The process ends behind it: nothing is freed. */
static int run_many(struct raw *raw)
{
    struct epoll_event events[EVENTS];
    raw->multis_count = (raw->at_once + MULTI_TRANSFERS - 1) / MULTI_TRANSFERS;
    long before_kib = bench_self_kib("VmRSS");
    if (start_many(raw) != 0) {
        return 1;
    }
    while (raw->done < raw->at_once + raw->count && !raw->is_failed) {
        run_due(raw);
        int n = epoll_wait(raw->epoll, events, EVENTS, wait_ms(raw));
        if (n < 0 && errno != EINTR) {
            return 1;
        }
        for (int i = 0; i < n; i++) {
            int what = ((events[i].events & (EPOLLIN | EPOLLHUP)) != 0 ? CURL_CSELECT_IN : 0) |
                       ((events[i].events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                       ((events[i].events & EPOLLERR) != 0 ? CURL_CSELECT_ERR : 0);
            act(&raw->multis[events[i].data.u64 >> 32],
                (curl_socket_t)(events[i].data.u64 & UINT32_MAX), what);
        }
    }
    atomic_store(&raw->shared->raw_kib, (uint64_t)(bench_self_kib("VmHWM") - before_kib));
    finish(raw, raw->is_failed ? 0 : raw->done - raw->at_once);
    return raw->is_failed;
}

int bench_raw_curl(struct bench_shared *shared, const char *url, uint32_t count, uint32_t at_once)
{
    static struct raw raw; /* zeroed, and libcurl keeps pointers into it */
    raw.shared = shared;
    raw.count = count;
    raw.at_once = at_once;
    memset(raw.body, 'x', sizeof raw.body);
    (void)snprintf(raw.url, sizeof raw.url, "%s/chat/completions", url);
    raw.headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (raw.headers == NULL) {
        return 1;
    }
    return at_once <= 1 ? run_serial(&raw) : run_many(&raw);
}
