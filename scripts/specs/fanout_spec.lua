local ORDER = { order = 4711, guest = "guest.9", steps = {
  { queue = "kitchen", data = { dish = "soup" } },
  { queue = "billing", data = { amount = 12.5 } } } }

spec("one order becomes its jobs, in the group of the guest", function(t)
  local r = t:script("fanout.lua"):perform { data = ORDER }
  t:equal(#r.result.added, 2)
  t:equal(t:jobs("kitchen")[1].data, { dish = "soup" })
  t:equal(t:jobs("kitchen")[1].group, "guest.9")
  t:equal(#t:jobs("billing"), 1)
end)

spec("an order done twice adds nothing twice", function(t)
  local s = t:script("fanout.lua")
  s:perform { data = ORDER, id = 1 }
  s:perform { data = ORDER, id = 2 }
  t:equal(#t:jobs(), 2)
end)

spec("what is no order fails at once", function(t)
  t:equal(t:script("fanout.lua"):perform({ data = 1 }).final, true)
end)
