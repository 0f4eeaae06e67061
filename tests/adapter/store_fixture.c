/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter/sqlite_store.h"
#include "store_fixture.h"
#if defined(SLUICE_MONGO_MODULE)
#include "adapter/mongo_loader.h"
#include "port/clock.h"
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- Mailbox */

static void mailbox_post(struct sluice_mailbox *base, struct sluice_mail *mail)
{
    struct store_mailbox *m = (struct store_mailbox *)base;
    pthread_mutex_lock(&m->mutex);
    mail->next = NULL;
    if (m->last == NULL) {
        m->first = mail;
    } else {
        m->last->next = mail;
    }
    m->last = mail;
    pthread_cond_signal(&m->posted);
    pthread_mutex_unlock(&m->mutex);
}

void store_mailbox_init(struct store_mailbox *m)
{
    *m = (struct store_mailbox){.base = {.post = mailbox_post}};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->posted, &attributes);
    pthread_condattr_destroy(&attributes);
}

void store_mailbox_fini(struct store_mailbox *m)
{
    pthread_mutex_destroy(&m->mutex);
    pthread_cond_destroy(&m->posted);
}

uint32_t store_mailbox_pump(struct store_mailbox *m, uint32_t timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&m->mutex);
    while (m->first == NULL && timeout_ms > 0 &&
           pthread_cond_timedwait(&m->posted, &m->mutex, &until) == 0) {
    }
    struct sluice_mail *mail = m->first;
    m->first = m->last = NULL;
    pthread_mutex_unlock(&m->mutex);
    uint32_t count = 0;
    while (mail != NULL) {
        struct sluice_mail *next = mail->next;
        mail->deliver(mail);
        mail = next;
        count++;
    }
    return count;
}

/* ---- The two stores */

void store_fixture_fresh(struct store_fixture *f)
{
    static unsigned number;
    number++;
    (void)snprintf(f->path, sizeof f->path, "%s/%u.db", f->folder, number);
    (void)snprintf(f->database, sizeof f->database, "sluice_test_%ld_%u", (long)getpid(), number);
}

void store_fixture_begin(struct store_fixture *f, int is_mongo)
{
    memset(f, 0, sizeof *f);
    f->is_mongo = is_mongo;
    store_mailbox_init(&f->mailbox);
    heap_init(&f->heap);
    (void)snprintf(f->folder, sizeof f->folder, "%s/sluice-store-XXXXXX",
                   getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(f->folder) == NULL) {
        perror(f->folder);
        exit(1);
    }
    store_fixture_fresh(f);
}

static void remove_folder(const char *folder)
{
    char command[256];
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    if (system(command) != 0) {
        (void)fprintf(stderr, "%s could not be removed\n", folder);
    }
}

void store_fixture_end(struct store_fixture *f)
{
    store_fixture_close(f);
    store_mailbox_fini(&f->mailbox);
    remove_folder(f->folder);
    if (f->is_mongo) {
        store_server_end(&f->server);
    }
}

sluice_rc store_fixture_open(struct store_fixture *f, struct sluice_err *err)
{
#if defined(SLUICE_MONGO_MODULE)
    if (f->is_mongo) {
        struct sluice_mongo_config config = {.uri = f->server.uri,
                                             .database = f->database,
                                             .timeout_ms = f->timeout_ms != 0 ? f->timeout_ms
                                                                              : STORE_TIMEOUT_MS,
                                             .mailbox = &f->mailbox.base,
                                             .allocator = &f->heap.allocator};
        return sluice_mongo_loader_create(SLUICE_MONGO_MODULE, &config, &f->store, err);
    }
#endif
    struct sluice_sqlite_config config = {.path = f->path,
                                          .timeout_ms = STORE_TIMEOUT_MS,
                                          .mailbox = &f->mailbox.base,
                                          .allocator = &f->heap.allocator};
    return sluice_sqlite_store_create(&config, &f->store, err);
}

void store_fixture_close(struct store_fixture *f)
{
    if (f->store != NULL) {
        f->store->ops->destroy(f->store);
        f->store = NULL;
    }
    (void)store_mailbox_pump(&f->mailbox, 0);
}

int store_fixture_setup(void **state)
{
    struct sluice_err err = {0};
    struct store_fixture *f = *state;
    store_fixture_fresh(f);
    if (store_fixture_open(f, &err) != SLUICE_OK) {
        fail_msg("%s", err.text);
    }
    return 0;
}

int store_fixture_teardown(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_close(f);
    assert_int_equal(atomic_load(&f->heap.open), 0);
    return 0;
}

/* ---- Documents */

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_little(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (unsigned char)(value >> (8 * i));
    }
}

/* {"text": text}; `out` has room for text_len + 32 bytes. */
static size_t body_write(int is_mongo, unsigned char *out, const char *text, size_t text_len)
{
    if (!is_mongo) {
        memcpy(out, "{\"text\":\"", 9);
        memcpy(out + 9, text, text_len);
        memcpy(out + 9 + text_len, "\"}", 2);
        return text_len + 11;
    }
    size_t len = 4 + 1 + 5 + 4 + text_len + 1 + 1;
    put_little(out, (uint32_t)len);
    memcpy(out + 4, "\x02text", 6);
    put_little(out + 10, (uint32_t)text_len + 1);
    memcpy(out + 14, text, text_len);
    out[14 + text_len] = 0;
    out[15 + text_len] = 0;
    return len;
}

sluice_bytes store_body(const struct store_fixture *f, const char *text)
{
    /* More than any case has in flight: a body is borrowed until its message has ended. */
    static unsigned char bodies[2048][256];
    static unsigned next;
    unsigned char *out = bodies[next++ % 2048];
    assert_true(strlen(text) < 200);
    return (sluice_bytes){.data = out, .len = body_write(f->is_mongo, out, text, strlen(text))};
}

sluice_bytes store_body_large(const struct store_fixture *f, size_t size)
{
    char *text = malloc(size);
    unsigned char *out = malloc(size + 32);
    assert_non_null(text);
    assert_non_null(out);
    memset(text, 'x', size);
    size_t len = body_write(f->is_mongo, out, text, size);
    free(text);
    return (sluice_bytes){.data = out, .len = len};
}

/* The string member `name`, as it is written in JSON. */
static void member_of(const struct sluice_store_done *done, int is_bson, const char *name,
                      char *out, size_t size)
{
    const unsigned char *p = done->found.data;
    const char *from = NULL;
    size_t len = 0;
    if (is_bson) {
        size_t at = 4;
        while (from == NULL && at + 1 < done->found.len && p[at] == 0x02) {
            const char *key = (const char *)p + at + 1;
            at += strlen(key) + 2;
            len = little(p + at) - 1;
            from = strcmp(key, name) == 0 ? (const char *)p + at + 4 : NULL;
            at += 4 + len + 1;
        }
    } else {
        char pattern[64];
        (void)snprintf(pattern, sizeof pattern, "\"%s\":\"", name);
        from = memmem(p, done->found.len, pattern, strlen(pattern));
        if (from != NULL) {
            from += strlen(pattern);
            size_t left = done->found.len - (size_t)(from - (const char *)p);
            while (len < left && from[len] != '"') {
                len += from[len] == '\\' ? 2 : 1;
            }
        }
    }
    len = from == NULL ? 0 : len < size - 1 ? len : size - 1;
    memcpy(out, from == NULL ? "" : from, len);
    out[len] = '\0';
}

/* ---- Operations */

void store_result_done(void *ctx, const struct sluice_store_done *done)
{
    static uint32_t order;
    struct store_result *r = ctx;
    r->calls++;
    r->fate = done->fate;
    r->rc = done->rc;
    r->failed_doc = done->failed_doc;
    r->order = ++order;
    r->found_len = done->found.len;
    (void)snprintf(r->text, sizeof r->text, "%s", done->text);
    if (done->found.len > 0) {
        int is_bson = ((const char *)done->found.data)[0] != '{' ||
                      little(done->found.data) == done->found.len;
        member_of(done, is_bson, "_id", r->found_id, sizeof r->found_id);
        member_of(done, is_bson, "text", r->found_text, sizeof r->found_text);
    }
}

void store_put(struct store_fixture *f, const struct sluice_doc *docs, uint32_t count,
               struct store_result *result)
{
    memset(result, 0, sizeof *result);
    f->store->ops->put(f->store, docs, count, store_result_done, result);
    assert_int_equal(result->calls, 0); /* never from inside */
}

void store_put_one(struct store_fixture *f, const char *collection, const char *id,
                   const char *text, struct store_result *result)
{
    struct sluice_doc doc = {.collection = collection, .id = id, .body = store_body(f, text)};
    store_put(f, &doc, 1, result);
}

void store_wait(struct store_fixture *f, struct store_result *results, uint32_t count)
{
    int64_t deadline = sluice_mono_ms() + STORE_WAIT_MS;
    for (;;) {
        uint32_t ended = 0;
        for (uint32_t i = 0; i < count; i++) {
            assert_true(results[i].calls <= 1);
            ended += results[i].calls;
        }
        if (ended == count) {
            return;
        }
        if (sluice_mono_ms() > deadline) {
            fail_msg("%u of %u operations ended within %d ms", ended, count, STORE_WAIT_MS);
        }
        (void)store_mailbox_pump(&f->mailbox, 100);
    }
}

struct store_result store_put_now(struct store_fixture *f, const char *collection, const char *id,
                                  const char *text)
{
    struct store_result r;
    store_put_one(f, collection, id, text, &r);
    store_wait(f, &r, 1);
    return r;
}

struct store_result store_find_now(struct store_fixture *f, const char *collection, const char *id)
{
    struct store_result r = {0};
    f->store->ops->find(f->store, collection, id, store_result_done, &r);
    assert_int_equal(r.calls, 0);
    store_wait(f, &r, 1);
    return r;
}

struct store_result store_ping_now(struct store_fixture *f)
{
    struct store_result r = {0};
    f->store->ops->ping(f->store, store_result_done, &r);
    assert_int_equal(r.calls, 0);
    store_wait(f, &r, 1);
    return r;
}
