/* SPDX-License-Identifier: MIT */
/* The conformance suite on the fake: it keeps the suite itself honest. */
#include "fake.h"
#include "suite.h"

static void *
open_fake(struct suite_env *t)
{
	return fake_open(t->qopts);
}

int
main(int argc, char **argv)
{
	static const struct suite_backend fake = {
		.name = "fake",
		.ops = &fake_ops,
		.open = open_fake,
	};

	return suite_main(&fake, argc, argv);
}
