/* SPDX-License-Identifier: Apache-2.0 */
/* The EVP interface allocates and looks its algorithm up for each hash; the plain functions do
 * neither. They are only "deprecated" in favour of it, and both OpenSSL 3 lines have them. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "codec/hash.h"

#include <openssl/sha.h>
#include <string.h>

_Static_assert(sizeof(struct sluice_hasher) >= sizeof(SHA256_CTX), "libcrypto's state must fit");
_Static_assert(_Alignof(struct sluice_hasher) >= _Alignof(SHA256_CTX), "and be aligned");
_Static_assert(SLUICE_SHA256_SIZE == SHA256_DIGEST_LENGTH, "one digest, one size");

static SHA256_CTX *context_of(struct sluice_hasher *h)
{
    return (SHA256_CTX *)(void *)h->state;
}

void sluice_hash_begin(struct sluice_hasher *h)
{
    (void)SHA256_Init(context_of(h));
}

void sluice_hash_raw(struct sluice_hasher *h, sluice_bytes bytes)
{
    if (bytes.len > 0) {
        (void)SHA256_Update(context_of(h), bytes.data, bytes.len);
    }
}

static void add_number(struct sluice_hasher *h, uint64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    }
    sluice_hash_raw(h, (sluice_bytes){.data = bytes, .len = sizeof bytes});
}

void sluice_hash_bytes(struct sluice_hasher *h, sluice_bytes field)
{
    add_number(h, field.len);
    sluice_hash_raw(h, field);
}

void sluice_hash_text(struct sluice_hasher *h, const char *field)
{
    if (field == NULL) {
        add_number(h, UINT64_MAX); /* no text is that long */
        return;
    }
    sluice_hash_bytes(h, (sluice_bytes){.data = field, .len = strlen(field)});
}

void sluice_hash_end_sha256(struct sluice_hasher *h, uint8_t digest[SLUICE_SHA256_SIZE])
{
    (void)SHA256_Final(digest, context_of(h));
}

static uint64_t big_endian(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

void sluice_hash_end(struct sluice_hasher *h, struct sluice_hash *hash)
{
    uint8_t digest[SLUICE_SHA256_SIZE];
    sluice_hash_end_sha256(h, digest);
    *hash = (struct sluice_hash){.high = big_endian(digest), .low = big_endian(digest + 8)};
}

void sluice_hash_hex(const struct sluice_hash *hash, char text[SLUICE_HASH_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < 32; i++) {
        uint64_t half = i < 16 ? hash->high : hash->low;
        text[i] = digits[half >> (60 - 4 * (i % 16)) & 15];
    }
    text[32] = '\0';
}
