/* SPDX-License-Identifier: MIT */
#include "boot/boot.h"

int
main(int argc, char **argv)
{
	return boot_run(argc, argv);
}
