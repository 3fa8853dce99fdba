/* SPDX-License-Identifier: MIT */
#pragma once

/* What every fuzzer includes. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(), it is there in every build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "not true: %s\n", #condition);                                         \
            abort();                                                                               \
        }                                                                                          \
    } while (false)
