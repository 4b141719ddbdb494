/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/sum_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct writer {
    char *text; /* NULL: the tree is only looked at */
    size_t size, used;
} writer;

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *w, const char *format, ...) {
    va_list args;
    if (!w->text || w->used + 1 >= w->size) return;
    va_start(args, format);
    const int n = vsnprintf(w->text + w->used, w->size - w->used, format, args);
    va_end(args);
    w->used += n > 0 ? (size_t)n : 0;
}

/* The tree of these leaves. Leaves that meet below the node of all of them are of one child. */
static bool walk(const mp_sum_tree *tree, const int *leaf, int count, bool root, writer *w) {
    bool taken[MP_TREE_LEAVES] = {false};
    int children = 0;
    if (count == 1) {
        put(w, "%d", leaf[0]);
        return true;
    }
    put(w, "%s", root ? "" : "(");
    for (int i = 0; i < count; i++) {
        int child[MP_TREE_LEAVES], size = 0;
        if (taken[i]) continue;
        for (int j = i; j < count; j++) {
            const int meet = tree->meet[leaf[i]][leaf[j]];
            if (i != j && meet > count) return false;
            if (taken[j] || (i != j && meet == count)) continue;
            taken[j] = true;
            child[size++] = leaf[j];
        }
        for (int a = 0; a < size; a++) /* nobody of it meets anybody else before the node of all */
            for (int j = 0; j < count; j++) {
                bool inside = false;
                for (int b = 0; b < size; b++) inside = inside || child[b] == leaf[j];
                if (!inside && tree->meet[child[a]][leaf[j]] != count) return false;
            }
        if (size == count) return false;
        put(w, "%s", children++ ? "+" : "");
        if (!walk(tree, child, size, false, w)) return false;
    }
    put(w, "%s", root ? "" : ")");
    return true;
}

static bool whole(const mp_sum_tree *tree, writer *w) {
    int leaf[MP_TREE_LEAVES];
    if (tree->n < 1 || tree->n > MP_TREE_LEAVES) return false;
    for (int i = 0; i < tree->n; i++) leaf[i] = i;
    return walk(tree, leaf, tree->n, true, w);
}

bool mp_sum_tree_is_one(const mp_sum_tree *tree) {
    return whole(tree, &(writer){0});
}

/* Where i < j meet in the trees that have names. */
static int meet_ascending(int n, int i, int j, int group) {
    const int end = (j / group + 1) * group;
    (void)i;
    return end < n ? end : n;
}

static int meet_pairwise(int i, int j) {
    int size = 2;
    while (i / size != j / size) size *= 2;
    return size;
}

static bool is_ascending(const mp_sum_tree *t, int group) {
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; j < t->n; j++)
            if (t->meet[i][j] != meet_ascending(t->n, i, j, group)) return false;
    return true;
}

static bool is_descending(const mp_sum_tree *t) {
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; j < t->n; j++)
            if (t->meet[i][j] != t->n - i) return false;
    return true;
}

static bool is_pairwise(const mp_sum_tree *t) {
    if (t->n & (t->n - 1)) return false;
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; j < t->n; j++)
            if (t->meet[i][j] != meet_pairwise(i, j)) return false;
    return true;
}

/* Leaves of equal k mod lanes meet in ascending order, before any other. */
static bool has_lanes(const mp_sum_tree *t, int lanes) {
    if (t->n % lanes || t->n == lanes) return false;
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; j < t->n; j++)
            if (i % lanes == j % lanes ? t->meet[i][j] != j / lanes + 1 : t->meet[i][j] <= t->n / lanes)
                return false;
    return true;
}

/* Parts of neighbours, each ascending, before any other. */
static bool has_parts(const mp_sum_tree *t, int parts) {
    const int length = t->n / parts;
    if (t->n % parts || length < 2) return false;
    for (int i = 0; i < t->n; i++)
        for (int j = i + 1; j < t->n; j++)
            if (i / length == j / length ? t->meet[i][j] != j % length + 1 : t->meet[i][j] <= length)
                return false;
    return true;
}

/* The tree of `count` leaves that each stand for n / count of them; `step` apart. */
static void put_tree_of(const mp_sum_tree *t, int count, int step, writer *w) {
    mp_sum_tree top = {.n = count};
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) top.meet[i][j] = t->meet[i * step][j * step] * count / t->n;
    if (is_ascending(&top, 1) && count > 2)
        put(w, "one after the other");
    else if (!whole(&top, w))
        put(w, "?");
}

bool mp_sum_tree_text(const mp_sum_tree *t, char *text, size_t size) {
    writer w = {text, size, 0};
    text[0] = '\0';
    if (!mp_sum_tree_is_one(t)) return false;
    if (is_ascending(t, 1)) {
        put(&w, "sequential, ascending");
        return true;
    }
    if (is_descending(t)) {
        put(&w, "sequential, descending");
        return true;
    }
    if (is_pairwise(t)) {
        put(&w, "pairwise, neighbours first");
        return true;
    }
    if (is_ascending(t, t->n)) {
        put(&w, "all %d at once", t->n);
        return true;
    }
    for (int group = 2; group < t->n; group *= 2)
        if (is_ascending(t, group)) {
            put(&w, "ascending, %d at once with the sum before them", group);
            return true;
        }
    for (int lanes = t->n / 2; lanes > 1; lanes--)
        if (has_lanes(t, lanes)) {
            put(&w, "%d lanes (k mod %d), each ascending; the lanes: ", lanes, lanes);
            put_tree_of(t, lanes, 1, &w);
            return true;
        }
    for (int parts = 2; parts <= t->n / 2; parts++)
        if (has_parts(t, parts)) {
            put(&w, "%d parts of k, each ascending; the parts: ", parts);
            put_tree_of(t, parts, t->n / parts, &w);
            return true;
        }
    return whole(t, &w);
}
