/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a sum, from what FPRev reveals of it: Xie, Jiang, Li, *FPRev: Revealing the Order of
 * Floating-Point Summation*, arXiv 2411.00442. Of n ones, two are replaced by M and -M, with M so large that
 * whatever is added to it is lost: what comes out counts the ones that are added after both have met. So
 * n - result is the number of leaves below the node where i and j meet. */
#ifndef MP_HARNESS_SUM_TREE_H
#define MP_HARNESS_SUM_TREE_H

#include <stdbool.h>
#include <stddef.h>

enum { MP_TREE_LEAVES = 32 };

/* meet[i][j]: the number of leaves below the node where leaves i and j meet, 2..n; symmetric. */
typedef struct mp_sum_tree {
    int n;
    int meet[MP_TREE_LEAVES][MP_TREE_LEAVES];
} mp_sum_tree;

/* Whether such a tree can be. More than two children of a node are added at once. */
bool mp_sum_tree_is_one(const mp_sum_tree *tree);
/* What it is called, "sequential, ascending", "pairwise", "8 lanes (k mod 8), each ascending; lanes
 * ((0+4)+(2+6))+..."; or, without a name, the tree itself: "((0+1)+2)+3", three at once as (0+1+2). False
 * where there is no such tree. */
bool mp_sum_tree_text(const mp_sum_tree *tree, char *text, size_t size);

#endif
