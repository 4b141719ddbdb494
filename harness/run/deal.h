/* SPDX-License-Identifier: Apache-2.0 */
/* Which row of a run a worker is handed next, and how many threads it has for it. Beside one another rows
 * share the machine: a few large ones at a time, as far as the host's memory goes, while other workers take
 * small ones. Rows with the same weights go to the worker that has them, one after the other. */
#ifndef MP_HARNESS_DEAL_H
#define MP_HARNESS_DEAL_H

#include "moeparity/suite.h"

typedef struct mp_deal_row {
    size_t bytes;         /* of the host's memory, with its weights */
    size_t weights_bytes; /* which stay with the worker when the row is done */
    double seconds;       /* about, of one that has the weights: good enough to tell large from small */
    size_t group;         /* the first row with these weights where they are worth keeping, else itself */
    bool large, dealt, alone;
} mp_deal_row;

typedef struct mp_deal {
    mp_deal_row *rows;
    size_t count, left; /* left: not dealt, those that have to be alone among them */
    int workers, lanes; /* lanes: large rows at a time */
    int cores;          /* threads of all workers together */
    size_t memory;      /* bytes of the host, for all rows at a time; SIZE_MAX: not known */
    bool in_order;
} mp_deal;

/* A worker as the deal sees it. */
typedef struct mp_seat {
    bool busy;
    size_t row; /* the one that it has, or had last; MP_NO_CASE: none */
} mp_seat;

/* in_order: rows are dealt as the matrix has them, whatever that costs. To be closed, after an error too. */
mp_status mp_deal_open(const mp_matrix *matrix, int workers, bool in_order, mp_deal *deal, mp_error *err);
void mp_deal_close(mp_deal *deal);

/* The row for this seat, which is idle; MP_NO_CASE where there is none now. */
size_t mp_deal_next(mp_deal *deal, const mp_seat *seats, int count, int seat);
/* Any row that is left, for one that has the machine to itself; MP_NO_CASE: none. */
size_t mp_deal_any(mp_deal *deal);
/* The row was dealt, and did not fit in beside the others: it comes again, by mp_deal_any. False where it had
 * no company. */
bool mp_deal_again(mp_deal *deal, size_t row);
/* The row needs so many bytes of the host beside what its case says: what its subject takes, and the judge on
 * a device. */
void mp_deal_add_bytes(mp_deal *deal, size_t row, size_t bytes);
/* How many rows mp_deal_next may still have for somebody. */
size_t mp_deal_open_rows(const mp_deal *deal);

/* OpenMP threads for the row that this seat has been handed. */
int mp_deal_threads(const mp_deal *deal, const mp_seat *seats, int count, int seat);

/* How many workers a run of the matrix is worth on this machine: one where recording, in another process's
 * place or by subjects of others, which have memory and threads of their own. */
int mp_deal_workers(const mp_matrix *matrix, const mp_suite_options *options);

#endif
