/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648). Pure, any thread. */
#ifndef SLUICE_CODEC_BASE64_H
#define SLUICE_CODEC_BASE64_H

#include <stddef.h>

/* Characters that `len` bytes become, without a NUL. */
#define SLUICE_BASE64_SIZE(len) (((len) + 2) / 3 * 4)

/* Standard alphabet with padding; writes SLUICE_BASE64_SIZE(len) characters and no NUL. */
void sluice_base64_encode(const void *data, size_t len, char *text);

/* Standard or URL-safe alphabet, with complete padding or none; nothing else: no white space, no
 * mix of alphabets, no stray bits in the last character. `data` has room for len / 4 * 3 + 2 bytes.
 * 0 when the text is not that; *data_len is then untouched. */
int sluice_base64_decode(const char *text, size_t len, void *data, size_t *data_len);

#endif
