/* SPDX-License-Identifier: Apache-2.0 */
/* The LLM by HTTP over several threads: calls beyond what one loop carries well are carried by
 * further threads, each with a loop and connections of its own. Implements port/llm.h on the libuv
 * loop ("home"), where all callbacks are made.
 *
 * While fewer than home_max calls are open on it, home carries them itself, and nothing differs
 * from curl_llm.h but the threads that sleep. A call beyond goes to the thread with the fewest.
 * Pings stay at home. */
#ifndef SLUICE_ADAPTER_LLM_THREADS_H
#define SLUICE_ADAPTER_LLM_THREADS_H

#include "adapter/curl_llm.h"

#define SLUICE_LLM_THREADS_MAX 16u

struct sluice_llm_threads_options {
    /* As for curl_llm.h; connections_max must be given, and is for all threads together. The
     * allocator must be one for several threads. */
    struct sluice_curl_llm_options llm;
    uint32_t threads;  /* 1…SLUICE_LLM_THREADS_MAX */
    uint32_t home_max; /* calls that home carries itself; 0: all go to the threads */
};

/* What home carries itself where nobody says otherwise: up to here its turns stay short. */
#define SLUICE_LLM_HOME_MAX 1024u

/* How many threads so many calls at once deserve on so many processors; 0: home carries all. */
uint32_t sluice_llm_threads_wanted(uint32_t calls_max, uint32_t processors);

/* As sluice_curl_llm_create; ERR_CONFIG too when there are too many or no threads, ERR_INTERNAL
 * when one cannot be started. */
SLUICE_MUST_CHECK
sluice_rc sluice_llm_threads_create(const struct sluice_llm_threads_options *options,
                                    struct sluice_llm **out, struct sluice_err *err);
/* Of an LLM made here: the sums of home, the threads and what is on the way to them. */
struct sluice_curl_stats sluice_llm_threads_stats(const struct sluice_llm *llm);

#endif
