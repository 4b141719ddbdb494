/* A program of somebody else, built against the installed package: judges one case and says so. */
#include "harness/run_case.h"

#include <stdio.h>

int main(void) {
    mp_matrix matrix = {0};
    mp_error err = {0};
    mp_subject subject = {0};
    mp_verdict verdict;
    mp_status status = mp_matrix_add(&matrix, "M=8 topk=2 act=silu", NULL, 0, &err);
    if (status == MP_OK) status = mp_subject_open("host", &subject, &err);
    if (status != MP_OK) {
        puts(err.text);
        return 2;
    }
    mp_run_case(&matrix.rows[0], &(mp_run_options){.subject = &subject, .repeat = 2}, &verdict);
    printf("%s %s\n", mp_outcome_name(verdict.outcome), verdict.name);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    return verdict.outcome != MP_PASS;
}
