-- SPDX-License-Identifier: MIT
--
-- Who logs in may only write as themselves: the sender in the envelope must begin with the login.

macros = { "{auth_authen}" }

function mail(m, sender)
  local login = m.macros["{auth_authen}"]
  if not login or sender == "" then
    return
  end
  if sender:lower():match("^[^@]*") ~= login:lower():match("^[^@]*") then
    return m:reply("553", "5.7.1", "You are logged in as " .. login .. ",",
                   "and may not send as " .. sender .. ".")
  end
end
