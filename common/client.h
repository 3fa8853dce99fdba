/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The sender's side of the datagram socket, for milterd and xmpprelay-send.
 */

#include "common/record.h"

/* Sends `n` records in one datagram and waits until each has its receipt or the time is up.
 *
 * Blocks at most until `deadline_usec` (CLOCK_MONOTONIC), also while the relay's queue is full or
 * the relay is not there. One that comes back within that time gets the records, once more where
 * it had gone with them; then `duplicate` may be the receipt of what we sent just before, and is no
 * `delivered`.
 * A record that wants `delivered` has it only with that, a duplicate, a busy or a refusal; one
 * that wants `none` is done when it is sent and its receipt says accepted. Each record must have
 * an id, no two the same. Uses a socket of its own, so it may be called from any thread.
 *
 * `receipts` has room for `n`; those that came are filled and marked in `received` (also `n`).
 * One that came but is not the last one wanted is filled and not marked; where none came at all
 * the receipt's id is "".
 * 0 when all came. -ETIMEDOUT when some did not; -ECONNREFUSED or -ENOENT when no relay listened
 * at the end, or each went that had got the records, -EACCES when we may not speak to it, -EMSGSIZE
 * when the records are too large for one datagram, -EINVAL for a record that can't be written,
 * other -errno as the kernel says. */
int client_send(const char *socket_path, const Record *const *records, size_t n,
                usec_t deadline_usec, Receipt *receipts, bool *received);
