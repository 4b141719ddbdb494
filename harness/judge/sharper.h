/* SPDX-License-Identifier: Apache-2.0 */
/* How much a contract that says little gives away. */
#ifndef MP_HARNESS_SHARPER_H
#define MP_HARNESS_SHARPER_H

#include "base/text.h"
#include "moeparity/contract.h"

/* Appends a sentence: how many times larger than under `sharp` the errors of each stage of the case may be
 * before the last rounding. Taken at a gate and sums of magnitude 1, without cancellation. Nothing where none
 * is larger. */
void mp_sharper_text(const mp_case *c, const mp_contract *contract, const mp_contract *sharp, mp_text *text);
/* Whether mp_sharper_text has added something to a text, as to that of a stored report. */
bool mp_sharper_told(const char *text);

#endif
