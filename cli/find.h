/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices and goldens that come with the program, found by their names. */
#ifndef MP_CLI_FIND_H
#define MP_CLI_FIND_H

#include "moeparity/status.h"

typedef enum mp_supply { MP_SUPPLY_MATRIX, MP_SUPPLY_GOLDEN } mp_supply;

/* The path that `name` stands for, freed by the caller: itself where there is such a file, or where it has a
 * slash; else, where they hold a file of this name (its `.yaml` or `.h5` may be left out), in the folders
 * share/moeparity/cases or share/moeparity/golden that belong to this executable; else itself. NULL: no
 * memory. */
char *mp_find(mp_supply supply, const char *name);
/* Calls `line` with "NAME  PATH" for each of them, in the order of names; *count is how many there were. */
mp_status mp_find_all(mp_supply supply, void (*line)(void *ctx, const char *text), void *ctx, int *count,
                      mp_error *err);

#endif
