/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/deal.h"

#include "base/host_memory.h"
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/run/memory.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORTH_KEEPING ((size_t)64 << 20) /* bytes of weights: less is filled faster than workers wait */
#define LARGE_SECONDS 0.5
/* How fast rows go, to tell large ones from small ones: bytes that are filled, run, judged and compared;
 * weights that are filled and brought to where they are used; multiply-adds that are judged and predicted. */
#define BYTES_A_SECOND 1.5e9
#define WEIGHTS_A_SECOND 5e9
#define PRODUCTS_A_SECOND 2e11
/* Of what is free at the start: the estimates are of the rows alone, and others live on the machine. */
#define MEMORY_SHARE 0.85

/* ---- what rows take ---- */

static size_t weights_of(const mp_case *c) {
    mp_inputs in;
    size_t bytes = 0;
    mp_inputs_plan(c, &in);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (mp_tensors[id].rows == MP_ROWS_WHOLE && mp_tensor_count(&in.t[id]) > 0)
            bytes += mp_tensor_bytes(&in.t[id]);
    return bytes;
}

static mp_deal_row estimate(const mp_matrix_row *row, size_t index) {
    enum { BLOCK_SIZE_M = 64 }; /* of tiles that only the subject knows */
    mp_deal_row r = {.bytes = mp_case_host_bytes(&row->c, BLOCK_SIZE_M), .group = index};
    for (size_t p = 0; p < row->pair_count; p++) {
        const size_t bytes = mp_case_host_bytes(&row->pairs[p], BLOCK_SIZE_M);
        if (bytes > r.bytes) r.bytes = bytes;
    }
    r.weights_bytes = row->file ? 0 : weights_of(&row->c);
    const double products = (double)mp_case_slots(&row->c) * mp_case_products(&row->c);
    const size_t others = r.bytes > r.weights_bytes ? r.bytes - r.weights_bytes : 0;
    r.seconds = (double)others / BYTES_A_SECOND + products / PRODUCTS_A_SECOND;
    r.large = r.seconds + (double)r.weights_bytes / WEIGHTS_A_SECOND > LARGE_SECONDS;
    return r;
}

static void find_group(mp_deal *deal, const mp_matrix *matrix, size_t index) {
    mp_deal_row *row = &deal->rows[index];
    if (row->weights_bytes < WORTH_KEEPING ||
        !mp_case_same_weights(&matrix->rows[index].c, &matrix->rows[index].c))
        return;
    for (size_t i = 0; i < index; i++)
        if (deal->rows[i].group == i && deal->rows[i].weights_bytes == row->weights_bytes &&
            mp_case_same_weights(&matrix->rows[i].c, &matrix->rows[index].c)) {
            row->group = i;
            return;
        }
}

mp_status mp_deal_open(const mp_matrix *matrix, int workers, bool in_order, mp_deal *deal, mp_error *err) {
    enum { FEWEST_LANES = 2, WORKERS_A_LANE = 4 };
    const int lanes = workers / WORKERS_A_LANE > FEWEST_LANES ? workers / WORKERS_A_LANE : FEWEST_LANES;
    const size_t available = mp_memory_available();
    *deal = (mp_deal){.rows = calloc(matrix->count + 1, sizeof *deal->rows),
                      .count = matrix->count,
                      .left = matrix->count,
                      .workers = workers,
                      .lanes = workers < lanes ? workers : lanes,
                      .cores = omp_get_max_threads(),
                      .memory = available ? (size_t)(MEMORY_SHARE * (double)available) : SIZE_MAX,
                      .in_order = in_order};
    if (!deal->rows) return mp_fail(err, MP_EMEMORY, "no memory for a deal of %zu rows", matrix->count);
    for (size_t i = 0; i < matrix->count; i++) deal->rows[i] = estimate(&matrix->rows[i], i);
    for (size_t i = 0; i < matrix->count; i++) find_group(deal, matrix, i);
    return MP_OK;
}

void mp_deal_close(mp_deal *deal) {
    free(deal->rows);
    deal->rows = NULL;
}

/* ---- the next row ---- */

static bool is_open(const mp_deal *deal, size_t i) {
    return !deal->rows[i].dealt && !deal->rows[i].alone;
}

/* A seat's group: what the worker there has the weights of. */
static size_t group_at(const mp_deal *deal, const mp_seat *seat) {
    return seat->row == MP_NO_CASE ? MP_NO_CASE : deal->rows[seat->row].group;
}

static size_t first_of_group(const mp_deal *deal, size_t group) {
    for (size_t i = group; i < deal->count; i++)
        if (deal->rows[i].group == group && is_open(deal, i)) return i;
    return MP_NO_CASE;
}

static bool fits(const mp_deal *deal, const mp_seat *seats, int count, int seat, size_t row) {
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (i == seat || seats[i].row == MP_NO_CASE) continue;
        const mp_deal_row *other = &deal->rows[seats[i].row];
        used += seats[i].busy ? other->bytes : other->weights_bytes;
    }
    const size_t bytes = deal->rows[row].bytes;
    return used <= deal->memory && bytes <= deal->memory - used;
}

/* Lanes that others have: with a large row, or with the weights of rows that are left. */
static int lanes_of_others(const mp_deal *deal, const mp_seat *seats, int count, int seat) {
    int taken = 0;
    for (int i = 0; i < count; i++) {
        if (i == seat || seats[i].row == MP_NO_CASE) continue;
        const bool keeps = deal->rows[seats[i].row].large &&
                           first_of_group(deal, deal->rows[seats[i].row].group) != MP_NO_CASE;
        taken += (seats[i].busy && deal->rows[seats[i].row].large) || keeps;
    }
    return taken;
}

static bool is_held(const mp_deal *deal, const mp_seat *seats, int count, int seat, size_t group) {
    for (int i = 0; i < count; i++)
        if (i != seat && group_at(deal, &seats[i]) == group) return true;
    return false;
}

static double seconds_left(const mp_deal *deal, size_t group) {
    double seconds = 0;
    for (size_t i = group; i < deal->count; i++)
        if (deal->rows[i].group == group && is_open(deal, i)) seconds += deal->rows[i].seconds;
    return seconds;
}

/* The large rows that take longest, of weights that no other worker has, or of such whose rows are worth a
 * second set of them. */
static size_t longest_group(const mp_deal *deal, const mp_seat *seats, int count, int seat) {
    size_t longest = MP_NO_CASE;
    double most = 0;
    for (size_t g = 0; g < deal->count; g++) {
        const size_t first = deal->rows[g].group == g ? first_of_group(deal, g) : MP_NO_CASE;
        if (first == MP_NO_CASE || !deal->rows[first].large || !fits(deal, seats, count, seat, first))
            continue;
        const double weights = (double)deal->rows[first].weights_bytes / WEIGHTS_A_SECOND;
        double seconds = seconds_left(deal, g) + weights;
        if (is_held(deal, seats, count, seat, g)) seconds = seconds > 3 * weights ? seconds / 1e3 : 0;
        if (!(seconds > most)) continue;
        longest = first;
        most = seconds;
    }
    return longest;
}

/* Where small rows are left, one worker is left to them. */
static int lanes_of(const mp_deal *deal) {
    bool small = false;
    for (size_t i = 0; i < deal->count && !small; i++) small = is_open(deal, i) && !deal->rows[i].large;
    return small && deal->lanes == deal->workers ? deal->lanes - 1 : deal->lanes;
}

static size_t choose(const mp_deal *deal, const mp_seat *seats, int count, int seat) {
    const size_t own = deal->in_order ? MP_NO_CASE : group_at(deal, &seats[seat]);
    const size_t more = own == MP_NO_CASE ? MP_NO_CASE : first_of_group(deal, own);
    if (more != MP_NO_CASE && fits(deal, seats, count, seat, more)) return more;
    if (deal->workers > 1 && lanes_of_others(deal, seats, count, seat) < lanes_of(deal)) {
        const size_t large = longest_group(deal, seats, count, seat);
        if (large != MP_NO_CASE) return large;
    }
    for (size_t i = 0; i < deal->count; i++)
        if (is_open(deal, i) &&
            (deal->workers == 1 || (!deal->rows[i].large && fits(deal, seats, count, seat, i))))
            return i;
    return MP_NO_CASE;
}

static size_t take(mp_deal *deal, size_t row) {
    if (row == MP_NO_CASE) return row;
    deal->rows[row].dealt = true;
    deal->left--;
    return row;
}

size_t mp_deal_next(mp_deal *deal, const mp_seat *seats, int count, int seat) {
    return deal->left > 0 ? take(deal, choose(deal, seats, count, seat)) : MP_NO_CASE;
}

size_t mp_deal_any(mp_deal *deal) {
    size_t i = 0;
    while (i < deal->count && deal->rows[i].dealt) i++;
    return take(deal, i < deal->count ? i : MP_NO_CASE);
}

bool mp_deal_again(mp_deal *deal, size_t row) {
    if (deal->workers == 1 || deal->rows[row].alone) return false;
    deal->rows[row].dealt = false;
    deal->rows[row].alone = true;
    deal->left++;
    return true;
}

void mp_deal_add_bytes(mp_deal *deal, size_t row, size_t bytes) {
    size_t *sum = &deal->rows[row].bytes;
    if (__builtin_add_overflow(*sum, bytes, sum)) *sum = SIZE_MAX;
}

size_t mp_deal_open_rows(const mp_deal *deal) {
    size_t open = 0;
    for (size_t i = 0; i < deal->count; i++) open += is_open(deal, i);
    return open;
}

/* ---- threads ---- */

int mp_deal_threads(const mp_deal *deal, const mp_seat *seats, int count, int seat) {
    enum { SMALL_THREADS = 4 }; /* more wait for each other longer than they work */
    const mp_deal_row *row = &deal->rows[seats[seat].row];
    int large = 0, small = 0, groups = 0, waiting = 0;
    for (int i = 0; i < count; i++)
        if (seats[i].busy) *(deal->rows[seats[i].row].large ? &large : &small) += 1;
    for (size_t i = 0; i < deal->count; i++) {
        if (!is_open(deal, i)) continue;
        if (deal->rows[i].large)
            groups += deal->rows[i].group == i;
        else if (waiting < deal->workers)
            waiting++;
    }
    if (!row->large) {
        /* beside large rows the cores are theirs */
        const int own = deal->workers > 1 && large + groups > 0 ? 1 : deal->cores / deal->workers,
                  most = own < SMALL_THREADS ? own : SMALL_THREADS;
        return most > 1 ? most : 1;
    }
    const int at_once = lanes_of(deal) > large ? lanes_of(deal) : large,
              lanes = large + groups < at_once ? large + groups : at_once,
              beside = small + waiting < deal->workers - lanes ? small + waiting : deal->workers - lanes,
              share = row->alone || deal->workers == 1 ? deal->cores : (deal->cores - beside) / lanes;
    return share > 1 ? share : 1;
}

/* ---- how many ---- */

static bool is_ours(const char *subject) {
    static const char *const names[] = {"auto", "ref", "host", "cuda"};
    for (size_t i = 0; subject && i < sizeof names / sizeof *names; i++)
        if (strcmp(subject, names[i]) == 0) return true;
    return false;
}

static bool is_on_gpu(const char *subject) {
    return subject && (strcmp(subject, "cuda") == 0 || strcmp(subject, "auto") == 0);
}

/* Cheaper than the driver, which would be opened in this process, too. */
static bool has_gpu(void) {
    return access("/dev/nvidiactl", F_OK) == 0;
}

/* Processes take turns on a GPU, each for a while. Two keep it busy with small cases, and more only wait; a
 * third one is for a second large case, whose time is the cores'. */
int mp_deal_workers(const mp_matrix *matrix, const mp_suite_options *o) {
    enum { ROWS_A_WORKER = 16, MOST = 8, MOST_ON_A_GPU = 3 };
    const mp_settings *settings = &o->settings;
    if (o->record || o->in_process || !is_ours(settings->subject) ||
        (settings->against && !is_ours(settings->against)))
        return 1;
    const bool on_gpu = has_gpu() && (is_on_gpu(settings->subject) || is_on_gpu(settings->against));
    const size_t cores = (size_t)omp_get_max_threads(),
                 rows = 1 + matrix->count / ROWS_A_WORKER, /* a start takes as long as so many small rows */
        most = on_gpu ? MOST_ON_A_GPU : MOST, workers = cores < rows ? cores : rows;
    return (int)(workers < most ? workers : most);
}
