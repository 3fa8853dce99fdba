/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The control socket: requests of one line, answers of one line, a few clients at a time.
 *
 * A client may send one request after another; the next is read when the answer to the one
 * before has been written. One that says nothing or does not read for CONTROL_IDLE_USEC is cut
 * off, save while it waits for us.
 */

#include "common/json.h"
#include "xmpprelay/settings.h"

#include <systemd/sd-event.h>

#define CONTROL_CLIENTS_MAX 16
#define CONTROL_REQUEST_MAX 4096 /* bytes */
#define CONTROL_IDLE_USEC (60 * USEC_PER_SEC)

typedef struct ControlSocket ControlSocket;

/* Answers a request: takes the answer over to *ret. With *ret left NULL the answer comes later,
 * by control_socket_answer() with the same `client`. -errno cuts the client off. */
typedef int (*ControlAnswer)(void *userdata, uint64_t client, const Json *request, Json **ret);

int control_socket_new(sd_event *event, const SocketSettings *settings, ControlAnswer answer,
                       void *userdata, ControlSocket **ret, char *reason, size_t reason_size);
ControlSocket *control_socket_free(ControlSocket *socket);
DEFINE_CLEANUP(ControlSocket *, control_socket_free)

/* Sends a late answer; a client that has gone meanwhile is none. Consumes `answer`. */
void control_socket_answer(ControlSocket *socket, uint64_t client, Json *answer);

/* Whether this client is still there and waits for its late answer. */
bool control_socket_waits(const ControlSocket *socket, uint64_t client);
