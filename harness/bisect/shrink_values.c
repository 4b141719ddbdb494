/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the inputs: parts of a tensor become 0 or 1, by edits. */
#include "cases/graph_tables.h"
#include "harness/bisect/shrink_steps.h"
#include "moeparity/graph.h"

#include <inttypes.h>
#include <stdio.h>

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

static bool try_part(mp_shrink *s, const part *p, int value) {
    char where[192];
    mp_small next = s->result->small;
    part_text(p, where);
    next.edit = next.edit ? mp_shrink_text(s, "%s; %s=%d", next.edit, where, value)
                          : mp_shrink_text(s, "%s=%d", where, value);
    return mp_shrink_try(s, &next);
}

/* Zeroes what it can of the part: all of it, or what it can of its halves along its longest axis. Elements
 * that must not be zero become one, unless the whole tensor is. */
static bool shrink_part(mp_shrink *s, const part *p, bool are_ones) {
    if (s->spent || size_of(p) == 0) return false;
    if (try_part(s, p, 0)) return true;
    if (size_of(p) == 1) return !are_ones && try_part(s, p, 1);
    part low = *p, high = *p;
    int longest = 0;
    for (int a = 1; a < p->rank; a++)
        if (p->high[a] - p->low[a] > p->high[longest] - p->low[longest]) longest = a;
    low.high[longest] = high.low[longest] = p->low[longest] + (p->high[longest] - p->low[longest] + 1) / 2;
    const bool any = shrink_part(s, &low, are_ones);
    return shrink_part(s, &high, are_ones) || any;
}

static bool shrink_tensor(mp_shrink *s, mp_tensor_id id) {
    const mp_tensor t = mp_case_shape(&s->result->small.c, id, 16);
    part all = {.id = id, .rank = t.rank};
    for (int a = 0; a < t.rank; a++) all.high[a] = all.dim[a] = t.dim[a];
    if (try_part(s, &all, 0)) return true;
    const bool ones = try_part(s, &all, 1);
    return shrink_part(s, &all, ones) || ones;
}

/* The inputs that hold numbers, those that are read last first: once weights are plain, what is wrong with x
 * shows by itself. */
bool mp_shrink_values(mp_shrink *s) {
    const mp_tensor_set inputs = mp_case_inputs(&s->result->small.c);
    bool any = false;
    for (int id = MP_TENSOR_COUNT; id-- > 0 && !s->spent;) {
        const bool integers = mp_case_dtype(&s->result->small.c, (mp_tensor_id)id) == MP_I32;
        if (inputs & MP_IN_SET(id) && !integers) any = shrink_tensor(s, (mp_tensor_id)id) || any;
    }
    return any;
}
