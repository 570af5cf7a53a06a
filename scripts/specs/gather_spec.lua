local function piece(id, data)
  return { id = id, group = "guest.9", data = data }
end

spec("pieces become one text, in their order", function(t)
  local r = t:script("gather.lua"):perform_batch {
    piece(1, { text = "Hello" }), piece(2, { text = "one question" }) }
  t:equal(r[1].result, { pieces = 2 })
  t:equal(t:jobs("answers")[1].data.text, "Hello\none question")
  t:equal(t:jobs("answers")[1].group, "guest.9")
end)

spec("a piece that is none fails alone", function(t)
  local r = t:script("gather.lua"):perform_batch {
    piece(1, { text = "Hello" }), piece(2, { picture = 1 }) }
  t:equal(r[1].state, "completed")
  t:equal(r[2].final, true)
end)
