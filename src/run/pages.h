/* SPDX-License-Identifier: Apache-2.0 */
/* What only the boot needed of memory, given back before the work begins. */
#ifndef SLUICE_RUN_PAGES_H
#define SLUICE_RUN_PAGES_H

/* Unmaps the pages of program and libraries that hold code and constants, and returns free heap.
 * What is needed again is mapped again from the page cache, at the price of a minor fault for 64
 * KiB. Not the pages when a debugger traces the process. Harmless at any time, from any thread;
 * best when little runs. */
void sluice_pages_release(void);

#endif
