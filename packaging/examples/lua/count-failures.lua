-- SPDX-License-Identifier: MIT
--
-- Makes an alert of a report that counts too many failures: a mail with a header such as
-- "X-Failed: 17". A report with none is the recovery of the one before.

local limit = 10

function message(m)
  local failed = tonumber(m.headers["X-Failed"])
  if not failed or (failed > 0 and failed < limit) then
    return
  end
  local host = m.headers["X-Host"] or m.client_name or "unknown"
  m:alert{
    to = { "ops" },
    title = failed == 0 and "No failures any more on " .. host or failed .. " failures on " .. host,
    text = m.text,
    severity = failed == 0 and "ok" or failed < 100 and "warning" or "critical",
    state = failed == 0 and "recovery" or "problem",
    key = "failures " .. host,
    fields = { host = host, failed = failed },
  }
end
