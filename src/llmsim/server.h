/* SPDX-License-Identifier: Apache-2.0 */
/* An OpenAI-compatible chat-completions server whose answers come from the prompt and whose faults
 * are scripted. */
#ifndef SLUICE_LLMSIM_SERVER_H
#define SLUICE_LLMSIM_SERVER_H

#include "core/err.h"
#include <stddef.h>
#include <stdint.h>

/* X(member, name): probabilities in per cent of the calls. */
#define SLUICE_LLMSIM_FAULTS(X)                                                                    \
    X(f429, "429")                                                                                 \
    X(f500, "500")                                                                                 \
    X(f503, "503")                                                                                 \
    X(stall, "stall")                                                                              \
    X(cut, "cut") X(refuse, "refuse") X(bad_json, "bad-json") X(length, "length")                  \
        X(reset, "reset") X(empty, "empty") X(blank, "blank")

enum llmsim_fault {
    LLMSIM_OK,
#define FAULT_ENUM(member, name) LLMSIM_##member,
    SLUICE_LLMSIM_FAULTS(FAULT_ENUM)
#undef FAULT_ENUM
        LLMSIM_FAULT_COUNT
};

/* All of them for people, each behind a space. */
#define LLMSIM_FAULT_TEXT(member, name) " " name
#define LLMSIM_FAULTS_TEXT              SLUICE_LLMSIM_FAULTS(LLMSIM_FAULT_TEXT)

struct llmsim_config {
    const char *host;
    uint16_t port;       /* 0: any free one */
    const char *api_key; /* NULL: none asked for */
    const char *model;
    uint32_t latency_ms, jitter_ms;
    uint32_t retry_after_s; /* of 429 and 503; 0: not sent */
    int is_stamped;         /* the model of each answer ends in #PORT.N, N of its call */
    uint64_t seed;
    double faults[LLMSIM_FAULT_COUNT];
};

struct llmsim;

/* ERR_CONFIG naming host and port. */
SLUICE_MUST_CHECK
sluice_rc llmsim_start(const struct llmsim_config *config, struct llmsim **out,
                       struct sluice_err *err);
uint16_t llmsim_port(const struct llmsim *s);
void llmsim_stop(struct llmsim *s); /* accepts NULL */
const char *llmsim_fault_name(enum llmsim_fault fault);
/* 1 when no more than all calls are to fail; 0 and why: of what is above 100 % nothing could be
 * drawn. */
int llmsim_faults_fit(const struct llmsim_config *config, char *why, size_t size);

#endif
