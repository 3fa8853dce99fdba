/* SPDX-License-Identifier: MIT */

/* One descriptor of each converter is opened once and never used nor closed. */

#include "milterd/charset-keep.h"

#include <iconv.h>
#include <pthread.h>

#include "milterd/charset-name.h"

#define KEPT_MAX 128 /* there are not as many names */

static struct {
    char name[CHARSET_NAME_MAX + 1];
    iconv_t converter;
} kept[KEPT_MAX];
static size_t n_kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void charset_keep(const char *name)
{
    bool known = strlen(name) > CHARSET_NAME_MAX;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_kept && !known; i++)
        known = streq(kept[i].name, name);
    if (!known && n_kept < KEPT_MAX) {
        strcpy(kept[n_kept].name, name);
        kept[n_kept].converter = iconv_open("UTF-8", name);
        n_kept++;
    }
    pthread_mutex_unlock(&lock);
}
