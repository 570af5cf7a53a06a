/* SPDX-License-Identifier: MIT */
#include "cmd/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static int64_t
rss_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%*s %ld", &pages) != 1)
		pages = -1;
	fclose(f);
	return pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE);
}

/* Without "." and ".." and without skip others. */
static int64_t
count_entries(const char *dir, int64_t skip)
{
	DIR *d = opendir(dir);
	int64_t n = -2 - skip;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void
proc_figures(struct proc_figures *ret)
{
	struct rlimit limit;
	struct rusage used;

	*ret = (struct proc_figures){.rss_bytes = rss_bytes(),
	    .threads = count_entries("/proc/self/task", 0),
	    /* The look itself takes one. */
	    .fds = count_entries("/proc/self/fd", 1),
	    .max_fds = -1, .cpu_s = -1};
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		ret->max_fds = (int64_t)limit.rlim_cur;
	if (getrusage(RUSAGE_SELF, &used) == 0)
		ret->cpu_s = (double)(used.ru_utime.tv_sec +
		    used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec +
		    used.ru_stime.tv_usec) / 1e6;
}
