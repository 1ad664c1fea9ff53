/* SPDX-License-Identifier: Apache-2.0 */
/* engine/node/gen_config_man.c: writes the section KEYS of a man page: gen_config_man site|witness. */
#include <string.h>

#include "engine/node/config.h"

int main(int argc, char **argv)
{
	if (argc != 2 || (strcmp(argv[1], "site") != 0 && strcmp(argv[1], "witness") != 0)) {
		fprintf(stderr, "usage: gen_config_man site|witness\n");
		return 2;
	}
	config_print_man(strcmp(argv[1], "site") == 0 ? CONFIG_SITE : CONFIG_WITNESS, stdout);
	return fflush(stdout) == 0 ? 0 : 1;
}
