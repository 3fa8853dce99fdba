/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The session process: one connection of one account, spoken to over the link (link.h).
 */

#define SESSION_LINK_FD 3

/* All that the process does; what it returns is for exit(). The descriptor is the session's end
 * of the link. */
int session_main(int link_fd);
