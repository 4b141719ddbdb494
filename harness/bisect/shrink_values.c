/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the inputs: parts of a tensor become 0 or 1, by edits. */
#include "cases/graph_tables.h"
#include "harness/bisect/shrink_steps.h"
#include "moeparity/graph.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_PARTS = 64 }; /* of one tensor: a longer line nobody reads */

/* A part of a tensor: from `low` to before `high` along each axis. */
typedef struct part {
    mp_tensor_id id;
    int rank;
    int64_t low[MP_MAX_RANK], high[MP_MAX_RANK], dim[MP_MAX_RANK];
} part;

static int64_t size_of(const part *p) {
    int64_t size = 1;
    for (int a = 0; a < p->rank; a++) size *= p->high[a] - p->low[a];
    return size;
}

/* "w1[3,:,64:]", as numpy has it. */
static void part_text(const part *p, char text[192]) {
    size_t used = (size_t)snprintf(text, 192, "%s", mp_tensor_name(p->id));
    int last = p->rank;
    while (last > 0 && p->low[last - 1] == 0 && p->high[last - 1] == p->dim[last - 1]) last--;
    for (int a = 0; a < last && used < 150; a++) {
        const int64_t low = p->low[a], high = p->high[a];
        used += (size_t)snprintf(text + used, 192 - used, a == 0 ? "[" : ",");
        if (high == low + 1 && p->dim[a] > 1)
            used += (size_t)snprintf(text + used, 192 - used, "%" PRId64, low);
        else if (low > 0 && high < p->dim[a])
            used += (size_t)snprintf(text + used, 192 - used, "%" PRId64 ":%" PRId64, low, high);
        else if (low > 0)
            used += (size_t)snprintf(text + used, 192 - used, "%" PRId64 ":", low);
        else if (high < p->dim[a])
            used += (size_t)snprintf(text + used, 192 - used, ":%" PRId64, high);
        else
            used += (size_t)snprintf(text + used, 192 - used, ":");
    }
    if (last > 0) snprintf(text + used, 192 - used, "]");
}

/* What has been written over one tensor. Parts of one value do not overlap, but with the whole, which is
 * first. */
typedef struct written {
    const char *before; /* edits of other tensors; NULL: none */
    part at[MOST_PARTS];
    int value[MOST_PARTS], count;
} written;

/* Whether both are one part together: the same along all axes but one, along which they touch. */
static bool join(part *p, const part *q) {
    int other = -1;
    for (int a = 0; a < p->rank; a++) {
        if (p->low[a] == q->low[a] && p->high[a] == q->high[a]) continue;
        if (other >= 0 || (p->high[a] != q->low[a] && q->high[a] != p->low[a])) return false;
        other = a;
    }
    if (other < 0) return false;
    if (q->low[other] < p->low[other]) p->low[other] = q->low[other];
    if (q->high[other] > p->high[other]) p->high[other] = q->high[other];
    return true;
}

static bool add_part(written *w, const part *p, int value) {
    part joined = *p;
    for (int i = 0; i < w->count; i++) {
        if (w->value[i] != value || !join(&joined, &w->at[i])) continue;
        w->count--;
        memmove(w->at + i, w->at + i + 1, (size_t)(w->count - i) * sizeof *w->at);
        memmove(w->value + i, w->value + i + 1, (size_t)(w->count - i) * sizeof *w->value);
        i = -1; /* it may touch one that it did not before */
    }
    if (w->count == MOST_PARTS) return false;
    w->at[w->count] = joined;
    w->value[w->count++] = value;
    return true;
}

/* Whether it still fails with this part written over, too. */
static bool try_part(mp_shrink *s, written *w, const part *p, int value) {
    mp_small next = s->result->small;
    written more = *w;
    if (size_of(p) == 0 || !add_part(&more, p, value)) return false;
    next.edit = w->before;
    for (int i = 0; i < more.count; i++) {
        char where[192];
        part_text(&more.at[i], where);
        next.edit = mp_shrink_text(s, "%s%s%s=%d", next.edit ? next.edit : "", next.edit ? "; " : "", where,
                                   more.value[i]);
    }
    if (!mp_shrink_try(s, &next)) return false;
    *w = more;
    return true;
}

/* Zeroes what it can of the part: all of it, or what it can of its halves along its longest axis. Elements
 * that must not be zero become one, unless the whole tensor is. */
static bool shrink_part(mp_shrink *s, written *w, const part *p, bool are_ones) {
    if (s->spent) return false;
    if (try_part(s, w, p, 0)) return true;
    if (size_of(p) == 1) return !are_ones && try_part(s, w, p, 1);
    part low = *p, high = *p;
    int longest = 0;
    for (int a = 1; a < p->rank; a++)
        if (p->high[a] - p->low[a] > p->high[longest] - p->low[longest]) longest = a;
    low.high[longest] = high.low[longest] = p->low[longest] + (p->high[longest] - p->low[longest] + 1) / 2;
    const bool any = shrink_part(s, w, &low, are_ones);
    return shrink_part(s, w, &high, are_ones) || any;
}

static bool shrink_tensor(mp_shrink *s, mp_tensor_id id) {
    const mp_tensor t = mp_case_shape(&s->result->small.c, id, 16);
    part all = {.id = id, .rank = t.rank};
    written w = {.before = s->result->small.edit};
    for (int a = 0; a < t.rank; a++) all.high[a] = all.dim[a] = t.dim[a];
    if (size_of(&all) == 0) return false;
    if (try_part(s, &w, &all, 0)) return true;
    const bool ones = try_part(s, &w, &all, 1);
    return shrink_part(s, &w, &all, ones) || ones;
}

/* The inputs that hold numbers, those that are read last first: once weights are plain, what is wrong
 * with x shows by itself. */
bool mp_shrink_values(mp_shrink *s) {
    const mp_tensor_set inputs = mp_case_inputs(&s->result->small.c);
    bool any = false;
    for (int id = MP_TENSOR_COUNT; id-- > 0 && !s->spent;) {
        const bool integers = mp_case_dtype(&s->result->small.c, (mp_tensor_id)id) == MP_I32;
        if (inputs & MP_IN_SET(id) && !integers) any = shrink_tensor(s, (mp_tensor_id)id) || any;
    }
    return any;
}
