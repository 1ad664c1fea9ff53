/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/man/gen_man.c: copies a manual page from stdin to stdout and fills in what comes from tables:
 * lines that are @KEYS_SITE@, @KEYS_WITNESS@, @METRICS@ or @COMMANDS@.
 */
#include <stdio.h>
#include <string.h>

#include "engine/admin/metrics.h"
#include "engine/node/config.h"

static void escaped(const char *text)
{
	for (; *text != '\0'; text++)
		printf(*text == '-' ? "\\-" : *text == '\\' ? "\\e" : "%c", *text);
}

static void command(const char *name, const char *synopsis, const char *help, bool later)
{
	printf(".TP\n.B ");
	escaped(name);
	putchar(' ');
	escaped(synopsis);
	putchar('\n');
	escaped(help);
	printf("%s.\n", later ? " (not available in this version)" : "");
}

static void commands(void)
{
#define COMMAND(name, synopsis, help, run) command(name, synopsis, help, false);
#define LATER(name, synopsis, help) command(name, synopsis, help, true);
#include "tools/ctl/commands.tbl"
#undef COMMAND
#undef LATER
}

static void metrics(void)
{
	struct text t;

	text_init(&t, 1 << 20);
	metrics_manual(&t);
	if (!t.failed)
		fwrite(t.data, 1, t.bytes, stdout);
	text_fini(&t);
}

int main(void)
{
	char line[1024];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "@KEYS_SITE@\n") == 0)
			config_print_man(CONFIG_SITE, stdout);
		else if (strcmp(line, "@KEYS_WITNESS@\n") == 0)
			config_print_man(CONFIG_WITNESS, stdout);
		else if (strcmp(line, "@METRICS@\n") == 0)
			metrics();
		else if (strcmp(line, "@COMMANDS@\n") == 0)
			commands();
		else
			fputs(line, stdout);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
