/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a golden file out of a run. */
#ifndef MP_HARNESS_RECORD_H
#define MP_HARNESS_RECORD_H

#include "moeparity/suite.h"

/* Begins the file in memory: mp_golden_create. MP_EINPUT also where the subject's name, or its versions with
 * those of `who`, are longer than a golden file has room for. */
mp_status mp_record_begin(const mp_record_options *options, const mp_subject *subject, const char *words,
                          mp_golden **golden, mp_error *err);
/* Who records: options->who, completed by the subject; of host the origin is what it predicts, by the words
 * of --contract or, where they are NULL, sm_90. MP_EINPUT as above. */
mp_status mp_record_who(const mp_record_options *options, const mp_subject *subject, const char *words,
                        mp_provenance *who, mp_error *err);
/* The tiles of a case as a golden has them. */
enum { MP_RECORD_CONFIG_MAX = 160 };
void mp_record_config(const mp_offer *offer, char text[MP_RECORD_CONFIG_MAX]);
/* Stores the run that was judged. */
mp_status mp_record_case(mp_golden *golden, const mp_case *c, const mp_offer *offer, const mp_inputs *in,
                         const mp_trace *trace, mp_error *err);

#endif
