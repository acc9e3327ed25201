variable = "Test this comes back the way I sent it."

response = hubnet.pass_through(variable, peer='somepeer')
