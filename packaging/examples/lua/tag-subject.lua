-- SPDX-License-Identifier: MIT
--
-- Writes "[external]" before the Subject of mail from other people's machines.

macros = { "{auth_authen}" }

local tag = "[external]"
local ours = regex("^(?:127\\.|10\\.|192\\.168\\.|::1$)")

function connect(m)
  m.connection.trusted = m.is_local or m.client == nil or ours:find(m.client) ~= nil
end

function message(m)
  if m.connection.trusted or m.macros["{auth_authen}"] then
    return
  end
  local text, value = m:header("Subject")
  if not text then
    m:add_header("Subject", tag)
  elseif not text:find(tag, 1, true) then
    m:change_header("Subject", tag .. " " .. value)
  end
end
