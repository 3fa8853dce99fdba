-- SPDX-License-Identifier: MIT
--
-- Refuses mail to addresses that nobody has ever given to anybody, tells whoever watches, and drops
-- what else the same client sends in this connection.

local traps = { ["trap@example.org"] = true }

function rcpt(m, address)
  if traps[address:lower()] and not m.is_local then
    m.connection.trapped = address
    m:log("trapped " .. (m.client or "a local user"))
    return m:reply("550", "5.1.1", "There is nobody of this name here.")
  end
end

function data(m)
  if m.connection.trapped then
    m:alert{ title = "Spam trap", severity = "info", state = "event",
             text = (m.client or "somebody") .. " has written to " .. m.connection.trapped }
    return "reject"
  end
end
