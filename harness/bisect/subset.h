/* SPDX-License-Identifier: Apache-2.0 */
/* The least of many things that is still enough: delta debugging (Zeller and Hildebrandt, 2002). */
#ifndef MP_HARNESS_SUBSET_H
#define MP_HARNESS_SUBSET_H

#include <stdbool.h>
#include <stddef.h>

/* Whether these items, in this order, are enough. */
typedef bool mp_subset_test(void *ctx, const size_t *items, size_t count);

/* items [count], which are enough, become a part of them, in their order, of which none can be left out
 * any more; returns how many they are. Nothing is asked about none of them, and about all of them. Where
 * one item is enough, that takes at most 2 * log2(count) questions, the later halves first, about 2 * count
 * items in all; k items that must be together take O(k * log(count)) and O(k^2) more. 0, and *items
 * unchanged, where memory runs out. */
size_t mp_subset_least(size_t *items, size_t count, mp_subset_test *enough, void *ctx);

#endif
