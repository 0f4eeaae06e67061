/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 over a list of fields, each with its length before it, so that no two lists give the same
 * input; cut to the 128 bits that identify requests and prompts. Needs no memory and cannot fail:
 * a hash that could would one day be the same for two requests. One hasher serves one thread. */
#ifndef SLUICE_CODEC_HASH_H
#define SLUICE_CODEC_HASH_H

#include "core/engine.h"
#include <stdint.h>

#define SLUICE_SHA256_SIZE    32u
#define SLUICE_HASH_TEXT_SIZE 33u /* 32 digits and a NUL */

struct sluice_hasher {
    uint64_t state[16]; /* libcrypto's */
};

void sluice_hash_begin(struct sluice_hasher *h);
/* A field: "ab","c" and "a","bc" differ. */
void sluice_hash_bytes(struct sluice_hasher *h, sluice_bytes field);
/* A field of text; NULL differs from "". */
void sluice_hash_text(struct sluice_hasher *h, const char *field);
/* Bytes as they are, without a length: for the SHA-256 that other tools compute too. */
void sluice_hash_raw(struct sluice_hasher *h, sluice_bytes bytes);

/* The first 128 bits of the digest; ends the hasher. */
void sluice_hash_end(struct sluice_hasher *h, struct sluice_hash *hash);
/* All of it. */
void sluice_hash_end_sha256(struct sluice_hasher *h, uint8_t digest[SLUICE_SHA256_SIZE]);

/* 32 lower-case hexadecimal digits. */
void sluice_hash_hex(const struct sluice_hash *hash, char text[SLUICE_HASH_TEXT_SIZE]);

#endif
