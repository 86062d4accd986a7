-- Constant load for wrk: each connection asks for a prediction every PAUSE milliseconds, and who answered is counted.
-- Environment: PICTURE (file of a PNG), PAUSE, KEY (optional).
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  counts = ""
  seen = {}
  local file = assert(io.open(os.getenv("PICTURE"), "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "image/png"
  if (os.getenv("KEY") or "") ~= "" then
    wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
  end
end

function delay()
  return tonumber(os.getenv("PAUSE"))
end

function response(status, headers)
  local release = headers["x-release"] or headers["X-Release"] or "nobody"
  local key = status .. " " .. release
  seen[key] = (seen[key] or 0) + 1
  counts = ""
  for name, count in pairs(seen) do
    counts = counts .. name .. " " .. count .. "\n"
  end
end

function done(summary)
  for _, thread in ipairs(threads) do
    io.write(thread:get("counts"))
  end
  for _, name in ipairs({"connect", "read", "write", "timeout"}) do
    io.write(name, " errors ", summary.errors[name], "\n")
  end
end
