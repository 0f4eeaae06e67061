/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-encoding (RFC 3986, section 2.1). */
#ifndef SLUICE_CODEC_PERCENT_H
#define SLUICE_CODEC_PERCENT_H

/* Decode in place. 0 for a % without two hexadecimal digits, and for %00; what `text` holds then is
 * not defined. */
int sluice_percent_decode(char *text);

#endif
