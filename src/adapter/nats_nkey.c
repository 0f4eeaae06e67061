/* SPDX-License-Identifier: Apache-2.0 */
#include "adapter/nats_nkey.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

#define SEED_TEXT_LEN 58u /* base32 of two prefix bytes, 32 key bytes, two bytes of CRC */
#define SEED_LEN      36u
#define PUBLIC_LEN    35u /* one prefix byte, 32, two */
#define PREFIX_SEED   (18u << 3)
#define PREFIX_USER   (20u << 3)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* CRC-16/XMODEM, as nkeys use it; stored with the low byte first. */
static uint16_t crc16(const uint8_t *data, size_t len)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint32_t)data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000u) != 0 ? (crc << 1) ^ 0x1021u : crc << 1;
        }
    }
    return (uint16_t)(crc & 0xffffu);
}

static int decode_base32(const char *text, size_t len, uint8_t *out, size_t out_len)
{
    uint32_t bits = 0, count = 0;
    size_t written = 0;
    for (size_t i = 0; i < len; i++) {
        const char *found = text[i] == '\0' ? NULL : strchr(alphabet, text[i]);
        if (found == NULL) {
            return 0;
        }
        bits = (bits << 5 | (uint32_t)(found - alphabet)) & 0xffffu;
        count += 5;
        if (count >= 8 && written < out_len) {
            count -= 8;
            out[written++] = (uint8_t)(bits >> count & 0xffu);
        }
    }
    return written == out_len;
}

static void encode_base32(const uint8_t *data, size_t len, char *out)
{
    uint32_t bits = 0, count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | data[i]) & 0xffffu;
        count += 8;
        while (count >= 5) {
            count -= 5;
            *out++ = alphabet[bits >> count & 31u];
        }
    }
    if (count > 0) {
        *out++ = alphabet[bits << (5 - count) & 31u];
    }
    *out = '\0';
}

/* A user seed at `text`: its 36 bytes with a matching checksum. */
static int decode_seed(const char *text, uint8_t raw[SEED_LEN])
{
    if (!decode_base32(text, SEED_TEXT_LEN, raw, SEED_LEN)) {
        return 0;
    }
    /* The two prefixes share 16 bits: 5 for "seed", then 8 for the kind of key. */
    unsigned kind = ((raw[0] & 7u) << 5 | raw[1] >> 3) & 0xffu;
    unsigned sum = (unsigned)raw[SEED_LEN - 2] | (unsigned)raw[SEED_LEN - 1] << 8;
    return (raw[0] & 0xf8u) == PREFIX_SEED && kind == PREFIX_USER &&
           crc16(raw, SEED_LEN - 2) == sum;
}

static int derive_public(const uint8_t private_key[32], uint8_t public_key[32])
{
    size_t len = 32;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, 32);
    int is_derived = key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1;
    EVP_PKEY_free(key);
    return is_derived && len == 32;
}

sluice_rc sluice_nkey_public(const char *file_text, size_t len, char out[SLUICE_NKEY_SIZE],
                             struct sluice_err *err)
{
    uint8_t raw[SEED_LEN];
    uint8_t key[PUBLIC_LEN];
    int is_found = 0;
    for (size_t i = 0; !is_found && i + SEED_TEXT_LEN <= len; i++) {
        if (file_text[i] == 'S' && file_text[i + 1] == 'U') {
            is_found = decode_seed(file_text + i, raw);
        }
    }
    key[0] = PREFIX_USER;
    is_found = is_found && derive_public(raw + 2, key + 1);
    OPENSSL_cleanse(raw, sizeof raw);
    if (!is_found) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG,
                              "no valid nkey user seed (58 characters that begin with SU)");
    }
    uint16_t sum = crc16(key, PUBLIC_LEN - 2);
    key[PUBLIC_LEN - 2] = (uint8_t)(sum & 0xffu);
    key[PUBLIC_LEN - 1] = (uint8_t)(sum >> 8);
    encode_base32(key, PUBLIC_LEN, out);
    return SLUICE_OK;
}

static int is_base64url(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Three parts between dots, none empty; the first is the encoding of "{"…". */
static int is_jwt(const char *text, size_t len)
{
    size_t part = 0;
    int dots = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' && part > 0) {
            dots++;
            part = 0;
        } else if (is_base64url(text[i])) {
            part++;
        } else {
            return 0;
        }
    }
    return dots == 2 && part > 0 && memcmp(text, "ey", 2) == 0;
}

sluice_rc sluice_creds_check(const char *file_text, size_t len, struct sluice_err *err)
{
    char unused[SLUICE_NKEY_SIZE];
    int has_jwt = 0;
    size_t end;
    for (size_t i = 0; i < len && !has_jwt; i = end + 1) {
        for (end = i; end < len && strchr(" \t\r\n", file_text[end]) == NULL; end++) {
        }
        has_jwt = is_jwt(file_text + i, end - i);
    }
    if (!has_jwt) {
        return sluice_err_set(err, SLUICE_ERR_CONFIG, "no JWT in it, expected a credentials file");
    }
    return sluice_nkey_public(file_text, len, unused, err);
}
