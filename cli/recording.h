/* SPDX-License-Identifier: Apache-2.0 */
/* golden record: what an interrupted recording has kept, and what has become of this one. */
#ifndef MP_CLI_RECORDING_H
#define MP_CLI_RECORDING_H

#include "cli/args.h"
#include "harness/run/shard.h"
#include "moeparity/suite.h"

typedef struct mp_cli_recording {
    mp_texts names; /* of all cases of the recording */
    size_t kept;    /* of them: not executed again */
    int held;       /* the folder of what is kept, against other recordings; -1: not yet */
} mp_cli_recording;

/* Holds the folder of cases that are kept; MP_EINPUT where another recording has it. With --resume, takes the
 * cases that are kept out of the share; the last one stays, where all are. Without, MP_EINPUT where an
 * interrupted recording has left some. Fills cases, keep and mixed of *record. Free with
 * mp_cli_recording_free, after an error too. */
mp_status mp_cli_recording_begin(const mp_args *args, mp_share *share, mp_record_options *record,
                                 mp_cli_recording *recording, mp_error *err);
/* Lets go of the folder, of which nothing is left where it keeps no case. */
void mp_cli_recording_free(const mp_record_options *record, mp_cli_recording *recording);
/* Says what has come of it; instead_of: the golden whose place it is to take, or NULL. Where a case failed
 * nothing is kept: what is wrong must be changed first. */
void mp_cli_recording_end(const mp_record_options *record, const char *instead_of,
                          const mp_cli_recording *recording, const mp_tally *tally, bool interrupted,
                          const mp_verdict *verdicts, size_t count);

#endif
