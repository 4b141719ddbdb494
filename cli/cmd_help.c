/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity help: descriptions; and what the build makes of them: the manual page and the completions. */
#include "cli/common.h"
#include "cli/help.h"

#include "moeparity/version.h"

int mp_cmd_help(const mp_args *args) {
    mp_error err = {0};
    if (mp_args_given(args, MP_OPT_MAN))
        mp_help_manual(stdout, mp_version());
    else if (mp_args_given(args, MP_OPT_BASH))
        mp_help_bash(stdout);
    else if (mp_args_given(args, MP_OPT_ZSH))
        mp_help_zsh(stdout);
    else if (mp_help_words(stdout, args->operands, args->operand_count, true, &err) != MP_OK)
        return mp_cli_fail(&err);
    return MP_EXIT_OK;
}
