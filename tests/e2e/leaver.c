/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object that ends the process while it is loaded. */
#include <stdlib.h>

__attribute__((constructor)) static void leave(void)
{
    exit(7);
}
