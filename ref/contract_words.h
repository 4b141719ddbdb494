/* SPDX-License-Identifier: Apache-2.0 */
/* A contract as people write it: "sm_90 act.rounding=gate-rounded". */
#ifndef MP_REF_CONTRACT_WORDS_H
#define MP_REF_CONTRACT_WORDS_H

#include "base/text.h"
#include "moeparity/preset.h"

/* The name of a preset (none, or NULL: MP_ANY_CONTRACT), and fields set over it, all separated by blanks.
 * MP_EINPUT names the word, and what was expected. */
mp_status mp_contract_of_words(const char *words, const mp_case *c, mp_contract *contract, mp_error *err);
/* Fields alone, set over what *contract is; NULL: none. MP_EINPUT as above. */
mp_status mp_contract_set_words(mp_contract *contract, const char *words, mp_error *err);

/* Appends the name of the preset and those fields of `contract` that differ from it on cases like c: words of
 * which mp_contract_of_words makes the same contract. *differing, which may be NULL: how many fields those
 * are. MP_EINPUT: an unknown preset. */
mp_status mp_contract_to_words(const mp_contract *contract, const char *preset, const mp_case *c,
                               mp_text *words, int *differing, mp_error *err);

#endif
