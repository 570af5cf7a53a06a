spec("a guest is greeted by name", function(t)
  local r = t:script("hello.lua"):perform { data = { name = "Ana" } }
  t:equal(r.result, { greeting = "Hello, Ana!" })
  t:match(r.log[1].text, "saying hello")
end)
