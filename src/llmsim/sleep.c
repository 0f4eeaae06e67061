/* SPDX-License-Identifier: Apache-2.0 */
/* Latency: suspended connections, woken by one thread. */
#include "llmsim/call.h"

#include <sys/eventfd.h>
#include <time.h>

void llmsim_sleep_until(struct llmsim *s, struct call *c, int64_t due_ms)
{
    c->due_ms = due_ms;
    (void)pthread_mutex_lock(&s->lock);
    MHD_suspend_connection(c->connection);
    struct call **at = &s->sleeping;
    while (*at != NULL && (*at)->due_ms <= due_ms) {
        at = &(*at)->next;
    }
    c->next = *at;
    *at = c;
    if (s->sleeping == c) {
        (void)pthread_cond_signal(&s->changed);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void *llmsim_waker_run(void *arg)
{
    struct llmsim *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->is_stopping || s->sleeping != NULL) {
        int64_t now = llmsim_now_ms();
        int is_any = 0;
        while (s->sleeping != NULL && (s->is_stopping || s->sleeping->due_ms <= now)) {
            struct call *c = s->sleeping;
            s->sleeping = c->next;
            MHD_resume_connection(c->connection);
            is_any = 1;
        }
        if (is_any) {
            (void)eventfd_write(s->wake_fd, 1);
        }
        if (s->is_stopping) {
            break;
        }
        if (s->sleeping == NULL) {
            (void)pthread_cond_wait(&s->changed, &s->lock);
        } else {
            int64_t due = s->sleeping->due_ms;
            struct timespec until = {due / 1000, due % 1000 * 1000000};
            (void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}
