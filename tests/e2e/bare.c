/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object that is no plug-in. */
__attribute__((visibility("default"))) int bare_symbol(void);

int bare_symbol(void)
{
    return 1;
}
