/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/percent.h"

/* -1: none. */
static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int sluice_percent_decode(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = digit_of(at[1]);
        int low = high < 0 ? -1 : digit_of(at[2]);
        if (low < 0 || high * 16 + low == 0) {
            return 0;
        }
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return 1;
}
