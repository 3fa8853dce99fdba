-- SPDX-License-Identifier: MIT
--
-- Notes in each mail who has logged in to send it, and takes away what senders claim of that.

macros = { "{auth_authen}", "{tls_version}" }

function message(m)
  m:delete_header("X-Submitted-By")
  local login = m.macros["{auth_authen}"]
  if login then
    m:insert_header(1, "X-Submitted-By", login .. " (" .. (m.macros["{tls_version}"] or "no TLS") .. ")")
  end
end
